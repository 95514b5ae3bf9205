// The adapters that a config asks for.
#pragma once

#include <filesystem>

#include "configs/config.h"
#include "model/adapters/lora_setup.h"
#include "model/files/config.h"

namespace muster::trainer {

// REQUIRES config.lora.enabled. Every list of lora.targets chooses among the layers of its
// learning-rate group. Throws ConfigError for a pattern that names no layer there.
model::LoraSetup lora_setup(const configs::Config& config, const model::QwenConfig& model);

// Throws CheckpointError naming rank, alpha, rslora, dora or layers where the folder's adapters
// have others than the config asks for.
void require_same_adapters(const std::filesystem::path& folder, const model::LoraSetup& wanted);

}  // namespace muster::trainer
