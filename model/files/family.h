// The Qwen-VL family: one row per model, one column per difference. Sizes come from config.json.
#pragma once

#include <string_view>

namespace muster::model {

enum class Activation { kSilu, kQuickGelu, kGeluTanh };

struct VisionFamily {
  bool rms_norm;          // RMSNorm; else LayerNorm with a bias
  bool gated_mlp;         // act(gate_proj x) * up_proj x; else act(mlp_in x)
  Activation activation;  // of the blocks' MLP; mergers use the exact GELU
  bool windows;           // most blocks attend inside windows; else all attend over whole frames
  // A table, interpolated to the grid, is added to the patches, whose embedding has a bias.
  bool learned_positions;
  bool width_by_ratio;  // config.json gives embed_dim and mlp_ratio; hidden_size is the output's
  bool deepstack;       // states of some blocks, merged, are added after the first decoder layers
  std::string_view mlp_in, mlp_out, merger_norm, merger_in, merger_out;  // parameter names
};

struct TextFamily {
  bool qkv_bias;           // q, k and v projections have one
  bool qk_norm;            // RMSNorm over each head's q and k, before they are turned
  bool interleaved_mrope;  // time, height and width take frequencies in turn; else in three runs
};

struct Family {
  std::string_view model_type;  // of config.json
  VisionFamily vision;
  TextFamily text;
  bool nested_names;  // files say model.visual.*, model.language_model.*; else visual.*, model.*
  // config.json was published with the text's sizes at its top; transformers 4.49 reads no other.
  bool flat_config;
  // What the published chat template puts first when the chat has no system turn.
  std::string_view system_prompt;
};

// Throws ConfigError, with what to do where the model is a relative: a mixture of experts, a
// language model alone, a model of videos or sound.
const Family& family_of(std::string_view model_type);

}  // namespace muster::model
