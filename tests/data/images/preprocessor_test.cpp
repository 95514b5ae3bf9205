#include "data/images/preprocessor_file.h"

#include <catch2/catch_test_macros.hpp>
#include <catch2/matchers/catch_matchers_string.hpp>

#include "base/error.h"
#include "base/files.h"
#include "base/process/atomic_file.h"

using namespace muster;
using namespace muster::data;
using Catch::Matchers::ContainsSubstring;

TEST_CASE("preprocessor_config.json: both spellings of the limits, and what it lacks in one error",
          "[unit][fault]") {
  const TempDir dir;
  const fs::path file = dir.path() / "preprocessor_config.json";
  write_text(
      file,
      R"({"patch_size": 16, "temporal_patch_size": 2, "merge_size": 2, "image_mean": [0.5, 0.5, 0.5],
                       "image_std": [0.5, 0.5, 0.25], "size": {"shortest_edge": 65536, "longest_edge": 16777216}})");
  const PatchOptions options = read_preprocessor(file);
  CHECK((options.factor() == 32 && options.min_pixels == 65536 && options.max_pixels == 16777216));
  CHECK(options.std == std::array{0.5, 0.5, 0.25});
  write_text(file, preprocessor_json(options));
  CHECK(read_preprocessor(file).max_pixels == 16777216);
  write_text(file,
             R"({"patch_size": 14, "merge_size": "two", "image_mean": [0.5], "image_std": [1, 1, 1],
                       "min_pixels": 3136, "max_pixels": 12845056})");
  CHECK_THROWS_WITH(read_preprocessor(file),
                    ContainsSubstring("temporal_patch_size: missing") &&
                        ContainsSubstring("merge_size: unexpected value \"two\"") &&
                        ContainsSubstring("image_mean: unexpected value [0.5]"));
  write_text(file, "[]");
  CHECK_THROWS_WITH(read_preprocessor(file), ContainsSubstring("not a JSON object"));
}
