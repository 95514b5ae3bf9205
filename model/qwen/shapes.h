// What a checkpoint of a given config holds, without allocating any of it.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "model/files/config.h"
#include "model/qwen/lora.h"

namespace muster::model {

using NamedShape = std::pair<std::string, std::vector<std::int64_t>>;

// Every parameter in forward order, named as published. Strict loading and random initialisation
// follow this list. A tied lm_head.weight is not in it.
std::vector<NamedShape> parameter_shapes(const QwenConfig& config);

// The layers that an adapter can stand beside, in forward order: every Linear layer of the towers
// and mergers. Not the patch embedding, which files hold as a convolution, nor lm_head, whose
// logits are never held.
std::vector<std::string> adaptable_layers(const QwenConfig& config);

// The parameters of the adapters alone, in forward order.
std::vector<NamedShape> adapter_shapes(const QwenConfig& config, const LoraOptions& lora);

}  // namespace muster::model
