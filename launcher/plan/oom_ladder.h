// What to try when ranks run out of memory (T-005): the same training in smaller portions, rung by
// rung.
#pragma once

#include <string>
#include <vector>

#include "configs/config.h"
#include "launcher/supervise/launch_spec.h"

namespace muster::launcher {

// First recompute activations of both towers, then half the tokens, vision tokens and samples of a
// micro-batch with twice the micro-batches per step, again and again until a micro-batch is one
// sample or one image no longer fits. Every world size that divides G divides 2 G as well.
std::vector<Rung> oom_ladder(const configs::Config& config);

}  // namespace muster::launcher
