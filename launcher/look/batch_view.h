// A config, looked at: its first micro-batches exactly as they are trained.
#pragma once

#include "configs/config.h"
#include "launcher/look/view.h"

namespace muster::launcher {

// Micro-batches of epoch 0 in order until options.first samples are seen, or those that hold the
// samples that are asked for. Throws ConfigError or DataError, as a run would.
View look_at_batches(const std::string& config_file, const configs::Config& config,
                     const LookOptions& options);

}  // namespace muster::launcher
