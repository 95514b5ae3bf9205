// The threads of an evaluation or a prediction, from a config.
#pragma once

#include "configs/config.h"
#include "trainer/evaluate/passes.h"

namespace muster::trainer {

// run.threads_per_rank threads: on the CPU all are in the model at once, with one more that
// prepares; on a GPU one is, and they prepare.
PassThreads pass_threads(const configs::Run& run);

}  // namespace muster::trainer
