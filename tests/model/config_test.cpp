#include "model/config.h"

#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>
#include <catch2/matchers/catch_matchers_string.hpp>
#include <nlohmann/json.hpp>
#include <numeric>

#include "base/error.h"
#include "base/files.h"
#include "model/shapes.h"
#include "support/test_paths.h"

using namespace muster;
using namespace muster::model;
using Catch::Matchers::ContainsSubstring;
using Json = nlohmann::json;

namespace {

std::string message_of(const Json& json) {
  const TempDir dir;
  write_text(dir.path() / "config.json", json.dump());
  try {
    read_config(dir.path());
  } catch (const ConfigError& error) {
    return error.what();
  }
  return "no error";
}

// Parameters by learning-rate group, merger before visual (law 3).
std::map<std::string, std::int64_t> count(const QwenConfig& config) {
  std::map<std::string, std::int64_t> counts{{"merger", 0}, {"visual", 0}, {"model", 0}, {"lm_head", 0}, {"total", 0}};
  for (const auto& [name, shape] : parameter_shapes(config)) {
    const auto n = std::accumulate(shape.begin(), shape.end(), std::int64_t{1}, std::multiplies<>());
    counts[name.starts_with("visual.merger.") ? "merger" : name.substr(0, name.find('.'))] += n;
    counts["total"] += n;
  }
  return counts;
}

}  // namespace

TEST_CASE("the published sizes have the published numbers of parameters", "[golden]") {
  const std::string size = GENERATE("3b", "7b", "32b", "72b");
  const auto dir = test::shared("golden/published_configs");
  const Json expected = Json::parse(read_text(dir / "expected_counts.json"))[size];
  CHECK(count(read_config(dir / (size + ".json"))) == expected.get<std::map<std::string, std::int64_t>>());
}

TEST_CASE("both config layouts give the same sizes", "[golden]") {
  const Json flat = Json::parse(read_text(test::shared("golden/published_configs/3b.json")));
  Json nested = {{"vision_config", flat["vision_config"]}, {"text_config", flat}};
  nested["text_config"].erase("vision_config");
  for (const char* key : {"model_type", "image_token_id", "vision_start_token_id", "tie_word_embeddings"})
    nested[key] = flat[key];
  nested["text_config"]["rope_parameters"] = {
      {"mrope_section", {16, 24, 24}}, {"rope_theta", 1e6}, {"rope_type", "default"}};
  nested["text_config"].erase("rope_scaling");
  nested["text_config"].erase("rope_theta");
  nested["vision_config"]["in_channels"] = nested["vision_config"]["in_chans"];
  nested["vision_config"].erase("in_chans");
  const TempDir dir;
  write_text(dir.path() / "flat.json", flat.dump());
  write_text(dir.path() / "nested.json", nested.dump());
  const QwenConfig a = read_config(dir.path() / "flat.json"), b = read_config(dir.path() / "nested.json");
  CHECK(parameter_shapes(a) == parameter_shapes(b));
  CHECK(a.text.rope_theta == b.text.rope_theta);
  CHECK(a.text.mrope_section == b.text.mrope_section);
  CHECK(a.text.head_dim == 128);
}

TEST_CASE("everything wrong with a config is reported at once", "[golden][fault]") {
  Json json = Json::parse(read_text(test::shared("golden/published_configs/3b.json")));
  json.erase("rms_norm_eps");
  json["vision_config"].erase("in_chans");
  json["vision_config"]["depth"] = "many";
  json["num_hidden_layers"] = 0;
  json["hidden_act"] = "relu";
  CHECK_THAT(message_of(json), ContainsSubstring("rms_norm_eps: missing") &&
                                   ContainsSubstring("vision_config.in_channels or in_chans: missing") &&
                                   ContainsSubstring("vision_config.depth: unexpected value \"many\"") &&
                                   ContainsSubstring("num_hidden_layers: must be at least 1") &&
                                   ContainsSubstring("\"relu\""));
}

TEST_CASE("sizes that do not fit each other, and other models, are refused", "[golden][fault]") {
  Json json = Json::parse(read_text(test::shared("golden/published_configs/3b.json")));
  json["rope_scaling"]["mrope_section"] = {16, 24, 25};
  json["num_key_value_heads"] = 3;
  json["use_sliding_window"] = true;
  json["vision_config"]["out_hidden_size"] = 2000;
  json["vision_config"]["fullatt_block_indexes"] = {7, 99};
  CHECK_THAT(message_of(json), ContainsSubstring("mrope_section") && ContainsSubstring("num_key_value_heads") &&
                                   ContainsSubstring("use_sliding_window") && ContainsSubstring("out_hidden_size") &&
                                   ContainsSubstring("no block 99"));
  json["model_type"] = "llava";
  CHECK_THAT(message_of(json), ContainsSubstring("\"llava\" is not supported"));
}
