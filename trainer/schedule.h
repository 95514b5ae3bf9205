// Learning rate over the run: a pure function, so a resumed run continues it exactly.
#pragma once

#include <cstdint>

#include "configs/config.h"
#include "trainer/assembly/run_length.h"
#include "trainer/checkpoint/manifest/run_state.h"

namespace muster::trainer {

// Factor on every group's peak learning rate at the step that stands at `at` (from 0). Linear
// warm-up over warmup_steps or warmup_ratio; then constant; linear or cosine (Loshchilov and Hutter
// 2017) from 1 down to min_lr_ratio at the end; one_cycle (Smith 2018): cosine up from 1/25 over
// the warm-up, cosine down to min_lr_ratio; step: times step_factor at each of step_at; wsd (Hu et
// al. 2024, MiniCPM): constant, then a line down to min_lr_ratio over the last decay_ratio.
// `plateau` is constant here: observe() lowers it.
double lr_factor(const configs::Schedule& schedule, const RunPosition& at);

enum class PlateauAction { kNone, kLowered, kStop };
// Whether `metric` beats what the run had so far, by eval.best_mode.
bool is_best(const Plateau& plateau, configs::BestMode mode, double metric);
// Counts an evaluation. After `patience` stale ones: halves the factor
// (kind plateau), or asks to stop.
PlateauAction observe(Plateau& plateau, const configs::Schedule& schedule, configs::BestMode mode,
                      double metric);

}  // namespace muster::trainer
