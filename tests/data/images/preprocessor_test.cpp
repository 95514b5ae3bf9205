#include "data/images/preprocessor_file.h"

#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>
#include <catch2/matchers/catch_matchers_string.hpp>
#include <nlohmann/json.hpp>
#include <string_view>

#include "base/error.h"
#include "base/files.h"
#include "base/process/atomic_file.h"
#include "support/test_paths.h"

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

namespace {

nlohmann::json published(double mean, std::int64_t patch) {
  return {{"patch_size", patch},
          {"temporal_patch_size", 2},
          {"merge_size", 2},
          {"image_mean", {mean, mean, mean}},
          {"image_std", {0.5, 0.5, 0.5}}};
}

}  // namespace

TEST_CASE("every layout that transformers wrote gives the same options", "[unit]") {
  const TempDir dir;
  const fs::path file = dir.path() / "preprocessor_config.json";
  const auto size =
      GENERATE(std::pair{"shortest_edge", "longest_edge"}, std::pair{"min_pixels", "max_pixels"});
  nlohmann::json json = published(0.5, 16);
  json["size"] = {{size.first, 3136}, {size.second, 50176}};
  write_text(file, json.dump());
  CHECK(read_preprocessor(file).max_pixels == 50176);
  json["max_pixels"] = 7000;  // what stands at the top wins, as in transformers
  write_text(file, json.dump());
  CHECK(read_preprocessor(file).max_pixels == 7000);
  // transformers 5 writes one file, with the videos' settings beside, and reads it first.
  const fs::path whole = dir.path() / "processor_config.json";
  write_text(whole, R"({"processor_class": "Qwen3VLProcessor"})");
  CHECK(preprocessor_in(dir.path()) == file);
  nlohmann::json video = published(0.25, 99);
  json.erase("max_pixels");
  write_text(whole, nlohmann::json{{"image_processor", json}, {"video_processor", video}}.dump());
  REQUIRE(preprocessor_in(dir.path()) == whole);
  const PatchOptions options = read_preprocessor(whole);
  CHECK((options.patch_size == 16 && options.min_pixels == 3136 && options.max_pixels == 50176));
  fs::remove(file);
  fs::remove(whole);
  write_text(dir.path() / "video_preprocessor_config.json", video.dump());
  CHECK(!preprocessor_in(dir.path()));
}

TEST_CASE("the processor files of real folders are read", "[golden]") {
  const fs::path cases = test::shared("cases/checkpoints");
  for (const char* name : {"q2-t445-tied", "q25-t449-tied", "q25-t524-tied", "q3-t524-tied"}) {
    INFO(name);
    const auto file = preprocessor_in(cases / name);
    REQUIRE(file);
    const PatchOptions options = read_preprocessor(*file);
    const bool third = std::string_view(name).starts_with("q3");
    CHECK(options.patch_size == (third ? 16 : 14));
    CHECK(options.min_pixels == (third ? 4096 : 3136));
    CHECK(options.max_pixels == (third ? 65536 : 50176));
    CHECK(options.mean[0] == (third ? 0.5 : 0.48145466));
  }
}

TEST_CASE("pictures prepared otherwise than here are refused by name", "[unit][fault]") {
  const TempDir dir;
  const fs::path file = dir.path() / "preprocessor_config.json";
  nlohmann::json json = published(0.5, 14);
  json.update({{"min_pixels", 1},
               {"max_pixels", 2},
               {"do_resize", false},
               {"resample", 2},
               {"rescale_factor", 1.0}});
  write_text(file, json.dump());
  CHECK_THROWS_WITH(read_preprocessor(file),
                    ContainsSubstring("do_resize: false is not computed") &&
                        ContainsSubstring("resample: 2") &&
                        ContainsSubstring("rescale_factor: 1.0"));
  json.update({{"do_resize", true}, {"resample", 3}, {"rescale_factor", 0.00392156862745098}});
  write_text(file, json.dump());
  CHECK(read_preprocessor(file).patch_size == 14);
}

TEST_CASE("a processor file gets other limits and keeps the rest", "[unit]") {
  PatchOptions options;
  options.mean = {0.1, 0.2, 0.3};
  options.std = {1, 1, 1};
  options.min_pixels = 100;
  options.max_pixels = 200;
  const nlohmann::json flat = {{"processor_class", "Q"}, {"size", {{"shortest_edge", 1}}}};
  const nlohmann::json after = nlohmann::json::parse(preprocessor_with(flat.dump(), options));
  CHECK(after["processor_class"] == "Q");
  CHECK(after["size"] == nlohmann::json{{"shortest_edge", 100}, {"longest_edge", 200}});
  CHECK((after["min_pixels"] == 100 && after["max_pixels"] == 200));
  const nlohmann::json nested = {{"image_processor", {{"size", {{"max_pixels", 5}}}}},
                                 {"video_processor", {{"size", {{"longest_edge", 9}}}}}};
  const nlohmann::json two = nlohmann::json::parse(preprocessor_with(nested.dump(), options));
  CHECK(two["image_processor"]["size"] ==
        nlohmann::json{{"shortest_edge", 100}, {"longest_edge", 200}, {"max_pixels", 200}});
  CHECK(!two["image_processor"].contains("max_pixels"));
  CHECK(two["image_processor"]["image_mean"] == options.mean);
  CHECK(two["video_processor"] == nested["video_processor"]);
}
