// Learning rate over steps: a pure function, so a resumed run continues it exactly.
#pragma once

#include <cstdint>

#include "configs/config.h"

namespace muster::trainer {

// Factor on every group's peak learning rate at optimizer step `step` (0-based). Linear warm-up
// over warmup_steps; then constant; linear or cosine (Loshchilov and Hutter 2017) from 1 down to
// min_lr_ratio at max_steps; one_cycle (Smith 2018): cosine up from 1/25 over the warm-up, cosine
// down to min_lr_ratio. `plateau` is constant here: Plateau lowers it.
double lr_factor(const configs::Schedule& schedule, std::int64_t step);

// Counts evaluations without progress. Saved in checkpoints.
struct Plateau {
  double best = -1;
  std::int64_t stale = 0;  // evaluations since the best one
  double factor = 1;       // what kind `plateau` multiplies the rate with

  enum class Action { kNone, kLowered, kStop };
  // `metric`: higher is better. After `patience` stale evaluations: halves the factor (plateau), or
  // asks to stop.
  Action observe(const configs::Schedule& schedule, double metric);
};

}  // namespace muster::trainer
