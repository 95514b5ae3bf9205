// muster check CONFIG --batch: the first micro-batch, as training gets it.
#pragma once

#include "configs/config.h"

namespace muster::launcher {

// Prints to stdout: a text for people, or one JSON object. Throws ConfigError and DataError, as
// `train` does.
void check_batch(const configs::Config& config, bool json);

}  // namespace muster::launcher
