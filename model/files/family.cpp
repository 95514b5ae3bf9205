#include "model/files/family.h"

#include <string>
#include <vector>

#include "base/error.h"
#include "base/text.h"

namespace muster::model {
namespace {

constexpr std::string_view kAssistant = "You are a helpful assistant.";

constexpr Family kFamilies[] = {
    {.model_type = "qwen2_vl",
     .vision = {.rms_norm = false,
                .gated_mlp = false,
                .activation = Activation::kQuickGelu,
                .windows = false,
                .learned_positions = false,
                .deepstack = false,
                .mlp_in = "fc1",
                .mlp_out = "fc2",
                .merger_norm = "ln_q",
                .merger_in = "mlp.0",
                .merger_out = "mlp.2"},
     .text = {.qkv_bias = true, .qk_norm = false, .interleaved_mrope = false},
     .nested_names = false,
     .system_prompt = kAssistant},
    {.model_type = "qwen2_5_vl",
     .vision = {.rms_norm = true,
                .gated_mlp = true,
                .activation = Activation::kSilu,
                .windows = true,
                .learned_positions = false,
                .deepstack = false,
                .mlp_in = "up_proj",
                .mlp_out = "down_proj",
                .merger_norm = "ln_q",
                .merger_in = "mlp.0",
                .merger_out = "mlp.2"},
     .text = {.qkv_bias = true, .qk_norm = false, .interleaved_mrope = false},
     .nested_names = false,
     .system_prompt = kAssistant},
    {.model_type = "qwen3_vl",
     .vision = {.rms_norm = false,
                .gated_mlp = false,
                .activation = Activation::kGeluTanh,
                .windows = false,
                .learned_positions = true,
                .deepstack = true,
                .mlp_in = "linear_fc1",
                .mlp_out = "linear_fc2",
                .merger_norm = "norm",
                .merger_in = "linear_fc1",
                .merger_out = "linear_fc2"},
     .text = {.qkv_bias = false, .qk_norm = true, .interleaved_mrope = true},
     .nested_names = true,
     .system_prompt = ""},
};

}  // namespace

const Family& family_of(std::string_view model_type) {
  std::vector<std::string> known;
  for (const Family& family : kFamilies) {
    if (family.model_type == model_type) return family;
    known.emplace_back(family.model_type);
  }
  throw ConfigError("model_type \"" + std::string(model_type) + "\" is not supported, only " +
                    join(known, ", "));
}

}  // namespace muster::model
