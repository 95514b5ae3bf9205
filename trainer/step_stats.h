// What one optimizer step left behind.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "data/fill.h"
#include "sharding/engine_options.h"
#include "sharding/plan/ledger.h"
#include "trainer/step_timer.h"
#include "trainer/step_totals.h"

namespace muster::trainer {

// The same on every rank, except for the clock and what this rank alone sent and holds.
struct StepStats {
  std::int64_t step = 0, epoch = 0;
  bool applied = false;
  std::string skip_reason = {};  // in words, when it was not applied
  StepTotals::Agreed agreed = {};
  double loss_scale = 1;                                  // of fp16
  double grad_norm = 0;                                   // of the summed gradient, before clipping
  std::vector<double> group_norms = {}, group_lrs = {};   // in the order of configs::kGroups
  std::vector<sharding::UpdateNorms> group_updates = {};  // likewise; empty: not measured
  std::int64_t engine_bytes = 0;                          // held by the engine between steps
  sharding::TransientBytes engine_peaks = {};  // the most of each transient kind within the step
  StepTimer::Seconds phases = {};
  bool stop = false, last_in_epoch = false;
  bool last = false;               // of the run
  std::int64_t forward_flops = 0;  // of the network on the step's tokens, over all ranks
  data::FillReport fill = {};      // of the step's micro-batches
  std::optional<data::FillReport> epoch_fill = {};  // of the epoch, at the first step of it

  double seconds() const { return phases.total(); }
};

}  // namespace muster::trainer
