#include "model/files/config.h"

#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>
#include <catch2/matchers/catch_matchers_string.hpp>
#include <catch2/matchers/catch_matchers_vector.hpp>
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
  json["rms_norm_eps"] = "small";
  json["vision_config"]["fullatt_block_indexes"] = 7;
  json["vision_config"]["depth"] = "many";
  json["num_hidden_layers"] = 0;
  json["hidden_act"] = "relu";
  CHECK_THAT(message_of(json),
             ContainsSubstring("rms_norm_eps: unexpected value \"small\"") &&
                 ContainsSubstring("vision_config.fullatt_block_indexes: unexpected value 7") &&
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

TEST_CASE("config.json of any transformers: what differs from the class's defaults is enough",
          "[golden]") {
  const fs::path cases = test::shared("cases/checkpoints");
  const QwenConfig published = read_config(cases / "pub-3b-t449");
  CHECK(count(published)["total"] == 3'754'622'976);
  CHECK(published.vision.full_attention_blocks == std::vector<std::int64_t>{7, 15, 23, 31});
  CHECK_THAT(published.defaulted,
             Catch::Matchers::VectorContains(std::string("vision_config.depth 32")));

  const QwenConfig q2 = read_config(cases / "q2-t445-tied");
  CHECK((q2.vision.depth == 2 && q2.vision.hidden_size == 32 && q2.vision.out_hidden_size == 64));
  CHECK((q2.vision.intermediate_size == 64 && q2.vision.patch_size == 14));
  CHECK((q2.text.tie_word_embeddings && q2.text.head_dim == 16));

  const QwenConfig old = read_config(cases / "q25-t449-tied");
  const QwenConfig now = read_config(cases / "q25-t524-tied");
  CHECK(parameter_shapes(old) == parameter_shapes(now));
  CHECK((old.vision.window_size == 112 && old.text.rms_norm_eps == now.text.rms_norm_eps));
  CHECK(now.defaulted.empty());

  const QwenConfig q3 = read_config(cases / "q3-t524-tied");
  CHECK((q3.text.head_dim == 16 && q3.text.mrope_section == std::vector<std::int64_t>{2, 3, 3}));
}

namespace {

Json one_that_fits(const std::string& type) {
  const std::string folder = type == "qwen2_5_vl" ? "qwen2_5_vl_tied" : type + "_tied";
  return Json::parse(read_text(test::shared("golden/" + folder + "/config.json")));
}

}  // namespace

TEST_CASE("keys that may be absent, null or elsewhere", "[golden]") {
  const std::string type = GENERATE("qwen2_vl", "qwen2_5_vl", "qwen3_vl");
  Json json = one_that_fits(type);
  const TempDir dir;
  const auto read = [&] {
    write_text(dir.path() / "config.json", json.dump());
    return read_config(dir.path());
  };
  const QwenConfig whole = read();
  for (const char* key : {"tie_word_embeddings", "initializer_range", "rms_norm_eps"})
    json["text_config"].erase(key);
  json["text_config"]["num_key_value_heads"] = nullptr;
  json["vision_config"]["patch_size"] = {whole.vision.patch_size, whole.vision.patch_size};
  const QwenConfig less = read();
  CHECK(less.text.tie_word_embeddings);  // said at the top
  CHECK(less.initializer_range == 0.02);
  CHECK(less.text.rms_norm_eps == (type == "qwen3_vl" ? 1e-6 : 1e-5));
  CHECK(less.text.num_kv_heads == less.text.num_heads);
  CHECK(less.vision.patch_size == whole.vision.patch_size);
  json.erase("tie_word_embeddings");
  CHECK(!read().text.tie_word_embeddings);
  json["text_config"]["tie_word_embeddings"] = true;
  CHECK(read().text.tie_word_embeddings);
}

TEST_CASE("a rope that is not computed is refused by name", "[golden][fault]") {
  const std::string rope = GENERATE("yarn", "dynamic", "linear", "longrope", "llama3");
  const char* section = GENERATE("rope_scaling", "rope_parameters");
  const char* key = GENERATE("type", "rope_type");
  Json json = Json::parse(read_text(test::shared("golden/published_configs/3b.json")));
  json.erase("rope_scaling");
  json[section] = {{key, rope}, {"factor", 4.0}, {"mrope_section", {16, 24, 24}}};
  CHECK_THAT(message_of(json), ContainsSubstring("the rope \"" + rope + "\" is not computed"));
  json[section] = {{key, "default"}, {"mrope_section", {16, 24, 24}}};
  CHECK(message_of(json) == "no error");
}

TEST_CASE("quantised weights are refused by the method's name", "[golden][fault]") {
  const std::string method = GENERATE("fp8", "awq", "gptq", "bitsandbytes", "compressed-tensors");
  Json json = Json::parse(read_text(test::shared("golden/published_configs/3b.json")));
  json["quantization_config"] = {{"quant_method", method}};
  CHECK_THAT(message_of(json), ContainsSubstring("the weights are quantised (" + method + ")") &&
                                   ContainsSubstring("(L-109)"));
}

TEST_CASE("relatives of the family are named, with what to take instead", "[golden][fault]") {
  Json json = Json::parse(read_text(test::shared("golden/published_configs/3b.json")));
  const std::vector<std::pair<std::string, std::string>> rows = {
      {"qwen3_vl_moe", "mixture of experts"},
      {"qwen2_5_omni", "hears and speaks"},
      {"qwen3", "sees no pictures"},
      {"qwen2_5_vl_text", "the language model alone"},
      {"llava_next_video", "model of videos"}};
  for (const auto& [type, what] : rows) {
    json["model_type"] = type;
    CHECK_THAT(message_of(json), ContainsSubstring(what));
  }
  json.erase("model_type");
  CHECK_THAT(message_of(json), ContainsSubstring("model_type: missing"));
}
