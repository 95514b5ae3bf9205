// The device that a rank computes on.
#pragma once

#include <cstdint>

#include "configs/config.h"

namespace muster::trainer {

// Loads the CUDA library and takes this rank's GPU when run.device is cuda; does nothing otherwise.
// REQUIRES that no tensor lies on a GPU yet. Throws PreflightError.
void open_device(const configs::Run& run, int local_rank);

// Bytes: the most that tensors took of the GPU so far, or this process's resident set now.
std::int64_t memory_in_use(const configs::Run& run);

}  // namespace muster::trainer
