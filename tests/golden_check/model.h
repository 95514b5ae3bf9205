// Oracles of the model: a tiny checkpoint with inputs and what transformers computed from them
// (golden/qwen*_vl_*).
#pragma once

#include <filesystem>

#include "golden_check/report.h"

namespace muster::golden {

// Whether `dir` holds a config.json of a vision-language model and at least one CASE.safetensors
// beside the weights.
bool is_model_dir(const std::filesystem::path& dir);

// Whether this build can run it; otherwise there is nothing to compare.
bool is_supported_model(const std::filesystem::path& dir);

// Every CASE.safetensors of the folder, comparing whichever expected tensors it holds. A case that
// throws is a failure, said on stderr. True when something was compared and all of it passed.
bool check_model(const std::filesystem::path& dir, Report& report);

}  // namespace muster::golden
