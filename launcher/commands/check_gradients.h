// muster check CONFIG --gradients: one forward and backward of the first micro-batch.
#pragma once

#include "base/error.h"
#include "configs/config.h"

namespace muster::launcher {

// Prints to stdout: a table for people, or one JSON object. Returns kNumeric when the loss or a
// gradient is not finite. Throws ConfigError, DataError, CheckpointError and PreflightError, as
// `train` does.
ExitCode check_gradients(const configs::Config& config, bool json);

}  // namespace muster::launcher
