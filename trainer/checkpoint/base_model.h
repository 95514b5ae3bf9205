// The frozen weights beneath a LoRA run's adapters: where they lie, and which they are.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <string>

#include "configs/config.h"

namespace muster::trainer {

struct BaseModel {
  std::string path;  // absolute: a Hugging Face folder, or where config.json of random weights lies
  std::optional<std::uint64_t> seed = std::nullopt;  // of random weights
  // 32 hex digits over every tensor's name, dtype, shape, first and last 4 KiB; of random weights
  // over config.json and the seed. "" in a folder that muster did not write. It tells two models
  // apart without reading all of them; it is no checksum.
  std::string fingerprint = "";
};

// The one that a config names. Throws CheckpointError when its files are damaged.
BaseModel base_of(const configs::Config& config);
// The one that a folder with adapters says it stands on, found: at its path, else at the model.path
// of config.yaml beside it. Throws CheckpointError when it is nowhere, or another model by now.
BaseModel find_base(const std::filesystem::path& adapter_folder);

// What adapter_model.safetensors says of it, beside base_model_name_or_path.
std::map<std::string, std::string> base_metadata(const BaseModel& base);

}  // namespace muster::trainer
