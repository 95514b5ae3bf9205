// The adapters of a run: which layers, how wide, how strong.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "model/qwen/lora.h"

namespace muster::model {

struct LoraSetup {
  std::int64_t rank = 1;
  double alpha = 1;
  double dropout = 0;
  bool rslora = false, dora = false;
  std::vector<std::string> layers = {};  // exact published names, in forward order

  double scale() const;  // alpha / rank; with rslora alpha / sqrt(rank)
  LoraOptions options(std::uint64_t seed) const;
};

// The layers that some pattern names, in their own order, as PEFT reads target_modules: a pattern
// is the end of a name ("q_proj", "mlp.0"), a regular expression of the whole of it, or
// "all-linear". Expressions may mean the published name (model.layers.0.mlp.up_proj) or that of
// transformers 5 (model.language_model.layers.0.mlp.up_proj). Throws ConfigError, which says `key`,
// for a pattern that names nothing (with the nearest name) or is no expression.
std::vector<std::string> matching_layers(std::span<const std::string> layers,
                                         std::span<const std::string> patterns,
                                         const std::string& key);

}  // namespace muster::model
