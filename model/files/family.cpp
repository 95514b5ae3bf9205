#include "model/files/family.h"

#include <algorithm>
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
                .width_by_ratio = true,
                .deepstack = false,
                .mlp_in = "fc1",
                .mlp_out = "fc2",
                .merger_norm = "ln_q",
                .merger_in = "mlp.0",
                .merger_out = "mlp.2"},
     .text = {.qkv_bias = true, .qk_norm = false, .interleaved_mrope = false},
     .nested_names = false,
     .flat_config = true,
     .system_prompt = kAssistant},
    {.model_type = "qwen2_5_vl",
     .vision = {.rms_norm = true,
                .gated_mlp = true,
                .activation = Activation::kSilu,
                .windows = true,
                .learned_positions = false,
                .width_by_ratio = false,
                .deepstack = false,
                .mlp_in = "up_proj",
                .mlp_out = "down_proj",
                .merger_norm = "ln_q",
                .merger_in = "mlp.0",
                .merger_out = "mlp.2"},
     .text = {.qkv_bias = true, .qk_norm = false, .interleaved_mrope = false},
     .nested_names = false,
     .flat_config = true,
     .system_prompt = kAssistant},
    {.model_type = "qwen3_vl",
     .vision = {.rms_norm = false,
                .gated_mlp = false,
                .activation = Activation::kGeluTanh,
                .windows = false,
                .learned_positions = true,
                .width_by_ratio = false,
                .deepstack = true,
                .mlp_in = "linear_fc1",
                .mlp_out = "linear_fc2",
                .merger_norm = "norm",
                .merger_in = "linear_fc1",
                .merger_out = "linear_fc2"},
     .text = {.qkv_bias = false, .qk_norm = true, .interleaved_mrope = true},
     .nested_names = true,
     .flat_config = false,
     .system_prompt = ""},
};

// Models that people try and that are none of these: a part of model_type, and what to do.
struct Relative {
  std::string_view part, what;
};

constexpr Relative kRelatives[] = {
    {"moe",
     "is a mixture of experts, which is not trained here; take a dense model, as "
     "Qwen3-VL-8B-Instruct"},
    {"omni", "hears and speaks; take the model of pictures, as Qwen2.5-VL-7B-Instruct"},
    {"audio", "is a model of sound; take one of pictures, as Qwen2.5-VL-7B-Instruct"},
    {"video", "is a model of videos; take one of pictures, as Qwen2.5-VL-7B-Instruct"},
    {"_text",
     "is the language model alone, cut out of a vision-language model; take the whole "
     "folder"},
    {"_vision",
     "is the vision tower alone, cut out of a vision-language model; take the whole "
     "folder"}};

constexpr std::string_view kTextModels[] = {"qwen",  "qwen2",   "qwen2_5", "qwen3", "qwen3_next",
                                            "llama", "mistral", "gemma",   "phi3"};

// Empty for a model_type that says nothing.
std::string_view advice_on(std::string_view model_type) {
  for (const Relative& relative : kRelatives)
    if (model_type.find(relative.part) != std::string_view::npos) return relative.what;
  if (std::ranges::find(kTextModels, model_type) != std::end(kTextModels))
    return "is a language model that sees no pictures; take a Qwen-VL, as Qwen2.5-VL-3B-Instruct";
  return {};
}

}  // namespace

const Family& family_of(std::string_view model_type) {
  std::vector<std::string> known;
  for (const Family& family : kFamilies) {
    if (family.model_type == model_type) return family;
    known.emplace_back(family.model_type);
  }
  if (model_type.empty())
    throw ConfigError("model_type: missing; it names the family, one of " + join(known, ", "));
  std::string text =
      "model_type \"" + std::string(model_type) + "\" is not supported, only " + join(known, ", ");
  const std::string_view advice = advice_on(model_type);
  if (!advice.empty()) text += ": it " + std::string(advice);
  throw ConfigError(text);
}

}  // namespace muster::model
