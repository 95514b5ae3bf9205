// Learning rate over steps: a pure function, so a resumed run continues it exactly.
#pragma once

#include <cstdint>

#include "configs/config.h"
#include "trainer/checkpoint/run_state.h"

namespace muster::trainer {

// Factor on every group's peak learning rate at optimizer step `step` (0-based). Linear warm-up
// over warmup_steps; then constant; linear or cosine (Loshchilov and Hutter 2017) from 1 down to
// min_lr_ratio at max_steps; one_cycle (Smith 2018): cosine up from 1/25 over the warm-up, cosine
// down to min_lr_ratio. `plateau` is constant here: observe() lowers it.
double lr_factor(const configs::Schedule& schedule, std::int64_t step);

enum class PlateauAction { kNone, kLowered, kStop };
// Counts an evaluation; `metric`: higher is better. After `patience` stale ones: halves the factor
// (kind plateau), or asks to stop.
PlateauAction observe(Plateau& plateau, const configs::Schedule& schedule, double metric);

}  // namespace muster::trainer
