#include "model/files/class_defaults.h"

#include <algorithm>
#include <stdexcept>
#include <vector>

#include "base/json.h"

namespace muster::model {
namespace {

using Json = nlohmann::json;

// The tokens are the same in all classes: Qwen2VLConfig, Qwen2_5_VLConfig and Qwen3VLConfig.
Json common_root() {
  return parse_json(
      R"({"image_token_id": 151655, "video_token_id": 151656, "vision_start_token_id": 151652,
        "vision_end_token_id": 151653, "tie_word_embeddings": false})");
}

// Qwen2VLTextConfig and Qwen2_5_VLTextConfig, and the flat Qwen2VLConfig (4.45) and
// Qwen2_5_VLConfig (4.49) before them: the 72B model.
Json text_of_qwen2() {
  return parse_json(R"({"vocab_size": 152064, "hidden_size": 8192, "intermediate_size": 29568,
    "num_hidden_layers": 80, "num_attention_heads": 64, "num_key_value_heads": 8, "hidden_act": "silu",
    "rms_norm_eps": 1e-05, "rope_theta": 1000000.0, "initializer_range": 0.02,
    "use_sliding_window": false, "tie_word_embeddings": false})");
}

// Qwen2VLVisionConfig.
Json vision_of_qwen2_vl() {
  return parse_json(R"({"depth": 32, "embed_dim": 1280, "hidden_size": 3584,
    "hidden_act": "quick_gelu", "mlp_ratio": 4, "num_heads": 16, "in_channels": 3, "patch_size": 14,
    "spatial_merge_size": 2, "temporal_patch_size": 2})");
}

// Qwen2_5_VLVisionConfig.
Json vision_of_qwen2_5_vl() {
  return parse_json(R"({"depth": 32, "hidden_size": 3584, "hidden_act": "silu",
    "intermediate_size": 3420, "num_heads": 16, "in_channels": 3, "patch_size": 14,
    "spatial_merge_size": 2, "temporal_patch_size": 2, "window_size": 112, "out_hidden_size": 3584,
    "fullatt_block_indexes": [7, 15, 23, 31]})");
}

// Qwen3VLVisionConfig.
Json vision_of_qwen3_vl() {
  return parse_json(R"({"depth": 27, "hidden_size": 1152, "hidden_act": "gelu_pytorch_tanh",
    "intermediate_size": 4304, "num_heads": 16, "in_channels": 3, "patch_size": 16,
    "spatial_merge_size": 2, "temporal_patch_size": 2, "out_hidden_size": 3584,
    "num_position_embeddings": 2304, "deepstack_visual_indexes": [8, 16, 24]})");
}

// Qwen3VLTextConfig of 4.57. The class of 5.x says rope_theta 500000, but 5.x never leaves it out.
Json text_of_qwen3_vl() {
  return parse_json(R"({"vocab_size": 151936, "hidden_size": 4096, "intermediate_size": 22016,
    "num_hidden_layers": 32, "num_attention_heads": 32, "num_key_value_heads": 32, "head_dim": 128,
    "hidden_act": "silu", "rms_norm_eps": 1e-06, "rope_theta": 5000000.0, "initializer_range": 0.02,
    "attention_bias": false, "tie_word_embeddings": false})");
}

// The sections of M-RoPE that Qwen2_5_VLRotaryEmbedding and Qwen3VLTextRotaryEmbedding take where
// the config names none (5.x; earlier versions have it for Qwen3-VL alone).
Json sections_of_qwen2() { return {{"mrope_section", {16, 24, 24}}}; }
Json sections_of_qwen3_vl() { return {{"mrope_section", {24, 20, 20}}}; }

// Every value was read in src/transformers/models/FAMILY/configuration_FAMILY.py of 4.45.2, 4.49.0,
// 4.57.1 and 5.24.0, as far as the version has the family. They agree but for what is said above.
const std::vector<ClassDefaults>& all_defaults() {
  static const std::vector<ClassDefaults> table = {
      {"qwen2_vl", common_root(), vision_of_qwen2_vl(), text_of_qwen2(), sections_of_qwen2()},
      {"qwen2_5_vl", common_root(), vision_of_qwen2_5_vl(), text_of_qwen2(), sections_of_qwen2()},
      {"qwen3_vl", common_root(), vision_of_qwen3_vl(), text_of_qwen3_vl(),
       sections_of_qwen3_vl()}};
  return table;
}

}  // namespace

const ClassDefaults& class_defaults(std::string_view model_type) {
  const auto found = std::ranges::find(all_defaults(), model_type, &ClassDefaults::model_type);
  if (found == all_defaults().end()) throw std::logic_error("a family without class defaults");
  return *found;
}

}  // namespace muster::model
