// The frozen weights beneath a LoRA run's adapters: where they lie, and which they are.
#pragma once

#include <filesystem>
#include <map>
#include <string>

#include "configs/config.h"
#include "trainer/checkpoint/manifest/manifest.h"

namespace muster::trainer {

// The one that a config names. Throws CheckpointError when its files are damaged.
BaseModel base_of(const configs::Config& config);
// The one that a folder with adapters says it stands on, found: at its path, else at the model.path
// of config.yaml beside it. Throws CheckpointError when it is nowhere, or another model by now.
BaseModel find_base(const std::filesystem::path& adapter_folder);

// What adapter_model.safetensors says of it, beside base_model_name_or_path.
std::map<std::string, std::string> base_metadata(const BaseModel& base);

}  // namespace muster::trainer
