// Sizes of the network, from Hugging Face's config.json (flat layout of the published checkpoints,
// or nested text_config of later ones). What is no size is a column of model/files/family.h; what
// the file leaves out is the default of its class (model/files/class_defaults.h).
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

namespace muster::model {

struct VisionConfig {
  std::int64_t depth, hidden_size, intermediate_size, num_heads, out_hidden_size;
  std::int64_t in_channels, patch_size, temporal_patch_size, spatial_merge_size;
  std::int64_t window_size;  // in pixels; 0: every block attends over whole frames
  std::vector<std::int64_t> full_attention_blocks;  // without windows: none
  std::int64_t num_positions = 0;                   // rows of the learned table; 0: no table
  // Blocks after which states are merged for the decoder, in order.
  std::vector<std::int64_t> deepstack_blocks = {};
  std::int64_t head_dim() const { return hidden_size / num_heads; }
  std::int64_t merge_unit() const { return spatial_merge_size * spatial_merge_size; }
  std::int64_t patch_dim() const {
    return in_channels * temporal_patch_size * patch_size * patch_size;
  }
};

struct TextConfig {
  std::int64_t vocab_size, hidden_size, intermediate_size;
  std::int64_t num_layers, num_heads, num_kv_heads, head_dim;
  double rms_norm_eps, rope_theta;
  std::vector<std::int64_t> mrope_section;
  bool tie_word_embeddings;
};

struct QwenConfig {
  std::string model_type;  // names the Family
  VisionConfig vision;
  TextConfig text;
  std::int64_t image_token_id, vision_start_token_id;
  double initializer_range;
  // What the file left out, with the class's default that holds: "vision_config.depth 32".
  std::vector<std::string> defaulted = {};
};

// `path`: config.json or the folder that holds it. Throws ConfigError listing everything of a
// wrong type or unsupported, quantised weights (diary row L-109) among it.
QwenConfig read_config(const std::filesystem::path& path);

}  // namespace muster::model
