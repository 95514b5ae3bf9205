// muster check CONFIG --gradients, --replay: one forward and backward of the first micro-batch, or
// of one that health kept.
#pragma once

#include <string>

#include "base/error.h"
#include "configs/config.h"

namespace muster::launcher {

// Prints to stdout: a table for people, or one JSON object. Returns kNumeric when the loss or a
// gradient is not finite. Throws ConfigError, DataError, CheckpointError and PreflightError, as
// `train` does.
// `replay`: the file of a micro-batch that health kept, which runs watched on the weights of the
// run's newest checkpoint; "": the first micro-batch, on the weights that a run starts from.
ExitCode check_gradients(const configs::Config& config, const std::string& replay, bool watched,
                         bool json);

}  // namespace muster::launcher
