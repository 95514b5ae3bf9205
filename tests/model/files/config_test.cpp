#include "model/files/config.h"

#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>
#include <catch2/matchers/catch_matchers_string.hpp>
#include <nlohmann/json.hpp>
#include <numeric>

#include "base/error.h"
#include "base/files.h"
#include "base/process/atomic_file.h"
#include "model/qwen/shapes.h"
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
  std::map<std::string, std::int64_t> counts{
      {"merger", 0}, {"visual", 0}, {"model", 0}, {"lm_head", 0}, {"total", 0}};
  for (const auto& [name, shape] : parameter_shapes(config)) {
    const auto n =
        std::accumulate(shape.begin(), shape.end(), std::int64_t{1}, std::multiplies<>());
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
  CHECK(count(read_config(dir / (size + ".json"))) ==
        expected.get<std::map<std::string, std::int64_t>>());
}

// Sizes as published: Qwen2-VL in the flat layout, Qwen3-VL in the nested one. Counts from
// transformers 5.17, of the same files without allocation; the totals are the published ones.
TEST_CASE("Qwen2-VL and Qwen3-VL have the published numbers of parameters", "[unit]") {
  struct Published {
    const char* config;
    std::map<std::string, std::int64_t> counts;
  };
  static const char* const kQwen2_2b =
      R"({"model_type": "qwen2_vl", "vision_start_token_id": 151652,
    "image_token_id": 151655, "hidden_act": "silu", "hidden_size": 1536, "initializer_range": 0.02,
    "intermediate_size": 8960, "num_attention_heads": 12, "num_hidden_layers": 28, "num_key_value_heads": 2,
    "rms_norm_eps": 1e-06, "rope_theta": 1000000.0, "tie_word_embeddings": true, "use_sliding_window": false,
    "vision_config": {"depth": 32, "embed_dim": 1280, "mlp_ratio": 4, "num_heads": 16, "in_chans": 3,
    "hidden_size": 1536, "patch_size": 14, "spatial_merge_size": 2, "spatial_patch_size": 14,
    "temporal_patch_size": 2}, "rope_scaling": {"type": "mrope", "mrope_section": [16, 24, 24]},
    "vocab_size": 151936})";
  static const char* const kQwen3_8b = R"({"model_type": "qwen3_vl", "image_token_id": 151655,
    "vision_start_token_id": 151652, "tie_word_embeddings": false, "text_config": {"attention_bias": false,
    "head_dim": 128, "hidden_act": "silu", "hidden_size": 4096, "initializer_range": 0.02,
    "intermediate_size": 12288, "num_attention_heads": 32, "num_hidden_layers": 36, "num_key_value_heads": 8,
    "rms_norm_eps": 1e-06, "rope_scaling": {"mrope_interleaved": true, "mrope_section": [24, 20, 20],
    "rope_type": "default"}, "rope_theta": 5000000, "vocab_size": 151936}, "vision_config":
    {"deepstack_visual_indexes": [8, 16, 24], "depth": 27, "hidden_act": "gelu_pytorch_tanh", "hidden_size": 1152,
    "in_channels": 3, "intermediate_size": 4304, "num_heads": 16, "num_position_embeddings": 2304,
    "out_hidden_size": 4096, "patch_size": 16, "spatial_merge_size": 2, "temporal_patch_size": 2}})";
  const auto published = GENERATE(Published{kQwen2_2b,
                                            {{"merger", 34087936},
                                             {"visual", 631183360},
                                             {"model", 1543714304},
                                             {"lm_head", 0},
                                             {"total", 2208985600}}},
                                  Published{kQwen3_8b,
                                            {{"merger", 40119040},
                                             {"visual", 536269296},
                                             {"model", 7568405504},
                                             {"lm_head", 622329856},
                                             {"total", 8767123696}}});
  const TempDir dir;
  write_text(dir.path() / "config.json", published.config);
  CHECK(count(read_config(dir.path())) == published.counts);
}

TEST_CASE("a Qwen3-VL config that this program would compute otherwise is refused",
          "[golden][fault]") {
  Json json = Json::parse(read_text(test::shared("golden/qwen3_vl_tied/config.json")));
  json["text_config"]["attention_bias"] = true;
  json["text_config"]["rope_parameters"]["mrope_interleaved"] = false;
  json["vision_config"]["hidden_act"] = "silu";
  CHECK_THAT(message_of(json),
             ContainsSubstring("attention_bias: true is not supported, only false") &&
                 ContainsSubstring("mrope_interleaved: false is not supported") &&
                 ContainsSubstring("vision_config.hidden_act: \"silu\" is not supported"));
  json = Json::parse(read_text(test::shared("golden/qwen3_vl_tied/config.json")));
  json["vision_config"]["num_position_embeddings"] = 63;
  json["vision_config"]["deepstack_visual_indexes"] = {1, 1, 9, 0};
  CHECK_THAT(message_of(json), ContainsSubstring("num_position_embeddings: must be a square") &&
                                   ContainsSubstring("no block 9") &&
                                   ContainsSubstring("must grow") &&
                                   ContainsSubstring("more entries than the decoder has layers"));
}

TEST_CASE("both config layouts give the same sizes", "[golden]") {
  const Json flat = Json::parse(read_text(test::shared("golden/published_configs/3b.json")));
  Json nested = {{"vision_config", flat["vision_config"]}, {"text_config", flat}};
  nested["text_config"].erase("vision_config");
  for (const char* key :
       {"model_type", "image_token_id", "vision_start_token_id", "tie_word_embeddings"})
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
  const QwenConfig a = read_config(dir.path() / "flat.json"),
                   b = read_config(dir.path() / "nested.json");
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
  CHECK_THAT(message_of(json),
             ContainsSubstring("rms_norm_eps: missing") &&
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
  CHECK_THAT(message_of(json),
             ContainsSubstring("mrope_section") && ContainsSubstring("num_key_value_heads") &&
                 ContainsSubstring("use_sliding_window") && ContainsSubstring("out_hidden_size") &&
                 ContainsSubstring("no block 99"));
  json["model_type"] = "llava";
  CHECK_THAT(message_of(json), ContainsSubstring("\"llava\" is not supported"));
}
