// What to try when ranks run out of memory (T-005): the same training in smaller portions, rung by
// rung.
#pragma once

#include <string>
#include <vector>

#include "configs/config.h"

namespace muster::launcher {

struct Rung {
  std::string what;  // for the log
  std::vector<std::string>
      overrides;  // as --set takes them; all that this rung stands for, with those above it
};

// First recompute activations of both towers, then half the tokens, vision tokens and samples of a
// micro-batch with twice the micro-batches per step, again and again until a micro-batch is one
// sample or one image no longer fits. Every world size that divides G divides 2 G as well.
std::vector<Rung> oom_ladder(const configs::Config& config);

}  // namespace muster::launcher
