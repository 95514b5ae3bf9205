// The device that a rank computes on.
#pragma once

#include "configs/config.h"

namespace muster::trainer {

// Loads the CUDA library and takes this rank's GPU when run.device is cuda; does nothing otherwise.
// REQUIRES that no tensor lies on a GPU yet. Throws PreflightError.
void open_device(const configs::Run& run, int local_rank);

}  // namespace muster::trainer
