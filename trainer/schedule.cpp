#include "trainer/schedule.h"

#include <algorithm>
#include <cmath>
#include <numbers>

namespace muster::trainer {
namespace {

// From `from` (t = 0) to `to` (t = 1) along half a cosine.
double cosine(double from, double to, double t) {
  return to + (from - to) * 0.5 * (1 + std::cos(std::numbers::pi * t));
}

}  // namespace

double lr_factor(const configs::Schedule& schedule, std::int64_t step) {
  using enum configs::ScheduleKind;
  const bool one_cycle = schedule.kind == kOneCycle;
  if (step < schedule.warmup_steps) {
    const double t = static_cast<double>(step + 1) / static_cast<double>(schedule.warmup_steps);
    return one_cycle ? cosine(1.0 / 25, 1, t) : t;
  }
  const double span =
      static_cast<double>(std::max<std::int64_t>(schedule.max_steps - schedule.warmup_steps, 1));
  const double t = std::min(static_cast<double>(step - schedule.warmup_steps) / span, 1.0);
  if (schedule.kind == kLinear) return 1 + (schedule.min_lr_ratio - 1) * t;
  if (schedule.kind == kCosine || one_cycle) return cosine(1, schedule.min_lr_ratio, t);
  return 1;
}

PlateauAction observe(Plateau& plateau, const configs::Schedule& schedule, double metric) {
  if (metric > plateau.best) {
    plateau.best = metric;
    plateau.stale = 0;
    return PlateauAction::kNone;
  }
  if (schedule.patience == 0 || ++plateau.stale < schedule.patience) return PlateauAction::kNone;
  plateau.stale = 0;
  if (schedule.kind != configs::ScheduleKind::kPlateau) return PlateauAction::kStop;
  plateau.factor *= 0.5;
  return plateau.factor < schedule.min_lr_ratio ? PlateauAction::kStop : PlateauAction::kLowered;
}

}  // namespace muster::trainer
