// adapter_config.json and adapter_model.safetensors, as Hugging Face PEFT writes and loads them.
#pragma once

#include <filesystem>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "model/adapters/lora_setup.h"
#include "model/files/config.h"
#include "model/qwen/layers.h"

namespace muster::model {

inline constexpr const char* kAdapterConfigFile = "adapter_config.json";
inline constexpr const char* kAdapterFile = "adapter_model.safetensors";

// What a folder says of itself.
struct PeftAdapter {
  LoraSetup setup;                                   // layers: those that the file has tensors for
  std::string base_model = "";                       // base_model_name_or_path; "" when it has none
  std::map<std::string, std::string> metadata = {};  // of the safetensors file
};

// "base_model.model.model.language_model.norm.lora_A.weight", or the same of transformers before
// 4.52, in muster's words: "model.norm.lora_A.weight".
std::string adapter_parameter(const std::string& stored);

bool is_adapter_folder(const std::filesystem::path& folder);

// Throws CheckpointError naming the first setting that muster does not compute: another peft_type,
// a bias, modules_to_save, rank_pattern, alpha_pattern, ...; or a file that is damaged.
PeftAdapter read_adapter(const std::filesystem::path& folder);

// Copies the folder's tensors into the adapters among `parameters`, in place. Strict: one
// CheckpointError lists missing, unexpected and mis-shaped tensors.
void load_adapter(const std::filesystem::path& folder, const std::vector<NamedParam>& parameters);

// Writes both files, for adapters of a model of this config. `tensors` have muster's names.
// target_modules are ends of names where no other module ends so (PEFT compares them with every
// module's name: "proj" would be the patch embedding's convolution, too), else whole names.
void write_adapter(const std::filesystem::path& folder, const PeftAdapter& adapter,
                   const QwenConfig& config,
                   const std::vector<std::pair<std::string, at::Tensor>>& tensors);

}  // namespace muster::model
