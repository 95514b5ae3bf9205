// Everything a run needs to continue, besides tensors. Plain values: every checkpoint holds them.
#pragma once

#include <cstdint>
#include <deque>
#include <optional>

#include "data/pack/cursor.h"

namespace muster::trainer {

// What health.h remembers of the steps before.
struct HealthState {
  std::deque<double> recent_losses;
  std::int64_t skips_in_row = 0, skips = 0;
  double lr_scale = 1;
};

// Evaluations without progress, counted by observe() in schedule.h.
struct Plateau {
  std::optional<double> best;  // of eval.best_metric
  std::int64_t stale = 0;      // evaluations since the best one
  double factor = 1;           // what kind `plateau` multiplies the rate with
};

struct RunState {
  std::int64_t step = 0;  // optimizer steps done
  data::Cursor cursor;    // the next step's
  HealthState health;
  Plateau plateau;
  bool ended_early = false;  // schedule.patience ended the run
};

}  // namespace muster::trainer
