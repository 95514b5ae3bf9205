// Where the numbers come from: a checkpoint, read strictly, or a seed.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "model/files/config.h"
#include "model/files/family.h"
#include "model/qwen/lora.h"

namespace muster::model {

// A name without what wrappers put before it when they save: module. (DataParallel), _orig_mod.
// (torch.compile), base_model.model. (peft), in any order.
struct UnwrappedName {
  std::string name;
  std::vector<std::string_view> wrappers;  // that were taken off
};
UnwrappedName unwrap(std::string_view name);

// transformers-5 names (model.visual.*, model.language_model.*), wrapped or not, to published ones
// (visual.*, model.*); others unchanged.
std::string published_name(const std::string& name);

// The other way: the name under which files of this family hold it, for transformers to find.
std::string file_name(const std::string& name, const Family& family);

using Weights = std::map<std::string, at::Tensor>;

// Exactly parameter_shapes(config), in `options`' dtype and device. One CheckpointError lists
// missing, unexpected, mis-shaped and non-float tensors together, ten of a kind, and says first
// what may have caused all: LoRA tensors, quantisation (L-109), no vision tower. A tied checkpoint
// may repeat the embedding as lm_head.weight, if it is the same but for the rounding of its dtype.
// Wrappers' prefixes are taken off and said in one line of the log. Files are mapped: on the CPU a
// tensor of the wanted dtype stays in its mapping (SafetensorsReader::take), any other is copied
// once. What the config does not ask for is never read.
Weights load_weights(const std::filesystem::path& folder, const QwenConfig& config,
                     const at::TensorOptions& options);

struct WeightsSummary {
  std::int64_t tensors = 0, parameters = 0;
  std::vector<std::string> dtypes;  // as the files name them, sorted
};

// The same checks; of the tensors only a repeated embedding is read.
WeightsSummary check_weights(const std::filesystem::path& folder, const QwenConfig& config);

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
