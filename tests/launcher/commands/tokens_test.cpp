// muster tokens, as a user starts it.
#include <catch2/catch_test_macros.hpp>
#include <catch2/matchers/catch_matchers_string.hpp>
#include <chrono>

#include "base/files.h"
#include "base/process/process_tree.h"
#include "data/images/codec.h"
#include "data/sources/small_sets.h"
#include "support/test_paths.h"

using namespace muster;
using Catch::Matchers::ContainsSubstring;

TEST_CASE("program: tokens takes pictures with suffixes of any case", "[unit]") {
  const TempDir dir;
  const data::Image image{56, 56, std::vector<std::uint8_t>(56 * 56 * 3, 90)};
  for (const char* name : {"b.Png", "c.PNG"})
    test::write_bytes(dir.path() / name, data::encode_png(image));
  const fs::path muster = test::build_dir() / "muster";
  for (const fs::path& input : {dir.path() / "b.Png", dir.path()}) {
    const CapturedRun run =
        run_captured({muster.string(), "tokens", input.string()}, std::chrono::seconds(60));
    INFO(run.output);
    CHECK(run.exit_code == 0);
    CHECK_THAT(run.output, ContainsSubstring("b.Png"));
  }
}
