// Where the numbers come from: a checkpoint, read strictly, or a seed.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <filesystem>
#include <map>
#include <string>

#include "model/files/config.h"
#include "model/files/family.h"
#include "model/qwen/lora.h"

namespace muster::model {

// transformers-5 names (model.visual.*, model.language_model.*) to published ones (visual.*,
// model.*); others unchanged.
std::string published_name(const std::string& name);

// The other way: the name under which files of this family hold it, for transformers to find.
std::string file_name(const std::string& name, const Family& family);

using Weights = std::map<std::string, at::Tensor>;

// Exactly parameter_shapes(config), in `options`' dtype and device. One CheckpointError lists
// missing, unexpected, mis-shaped and non-float tensors together. A tied checkpoint may repeat the
// embedding as lm_head.weight, if it is the same. Files are mapped: on the CPU a tensor of the
// wanted dtype stays in its mapping (SafetensorsReader::take), any other is copied once. What the
// config does not ask for is never read.
Weights load_weights(const std::filesystem::path& folder, const QwenConfig& config,
                     const at::TensorOptions& options);

// The same checks; of the tensors only a repeated embedding is read.
void check_weights(const std::filesystem::path& folder, const QwenConfig& config);

// N(0, std^2) for matrices, ones for norms, zeros for biases. A tensor depends on (seed, name)
// alone.
at::Tensor random_tensor(const std::string& name, at::IntArrayRef shape, double std,
                         std::uint64_t seed);
Weights random_weights(const QwenConfig& config, const at::TensorOptions& options,
                       std::uint64_t seed);

// Adds adapters that change nothing yet, as PEFT starts them: A uniform in +-1/sqrt(in), each
// tensor from (seed, name) alone, B zeros, magnitudes the row norms of `weights`.
void add_adapters(Weights& weights, const QwenConfig& config, const LoraOptions& lora,
                  const at::TensorOptions& options);

}  // namespace muster::model
