// What a checkpoint of a given config holds, without allocating any of it.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "model/files/config.h"

namespace muster::model {

using NamedShape = std::pair<std::string, std::vector<std::int64_t>>;

// Every parameter in forward order, named as published. Strict loading and random initialisation
// follow this list. A tied lm_head.weight is not in it.
std::vector<NamedShape> parameter_shapes(const QwenConfig& config);

}  // namespace muster::model
