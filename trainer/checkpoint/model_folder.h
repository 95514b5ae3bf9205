// Where the weights that a run starts from lie.
#pragma once

#include <filesystem>

#include "configs/config.h"

namespace muster::trainer {

// The first candidate of model.path that is there; ConfigError listing each that was tried,
// with what it holds instead where that is known (an adapter, L-108; pickles).
std::filesystem::path find_model(const configs::Model& model);

}  // namespace muster::trainer
