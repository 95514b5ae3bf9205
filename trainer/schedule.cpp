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

double stepped(const configs::Schedule& schedule, const RunPosition& at) {
  const auto reached = std::ranges::count_if(
      schedule.step_at, [&](double part) { return at.step >= part * at.steps; });
  return std::pow(schedule.step_factor, static_cast<double>(reached));
}

double decayed_at_the_end(const configs::Schedule& schedule, const RunPosition& at) {
  const double decay = schedule.decay_ratio * at.steps;
  const double into = at.step - (at.steps - decay);
  if (into <= 0) return 1;
  return 1 + (schedule.min_lr_ratio - 1) * std::min(into / decay, 1.0);
}

}  // namespace

double lr_factor(const configs::Schedule& schedule, const RunPosition& at) {
  using enum configs::ScheduleKind;
  const double warmup = schedule.warmup_steps ? static_cast<double>(*schedule.warmup_steps)
                                              : schedule.warmup_ratio.value_or(0) * at.steps;
  if (at.step < warmup) {
    const double t = std::min((at.step + 1) / warmup, 1.0);
    return schedule.kind == kOneCycle ? cosine(1.0 / 25, 1, t) : t;
  }
  const double span = std::max(at.steps - warmup, 1.0);
  const double t = std::min((at.step - warmup) / span, 1.0);
  switch (schedule.kind) {
    case kLinear: return 1 + (schedule.min_lr_ratio - 1) * t;
    case kCosine:
    case kOneCycle: return cosine(1, schedule.min_lr_ratio, t);
    case kStep: return stepped(schedule, at);
    case kWsd: return decayed_at_the_end(schedule, at);
    case kConstant:
    case kPlateau: return 1;
  }
  return 1;
}

bool is_best(const Plateau& plateau, configs::BestMode mode, double metric) {
  if (!std::isfinite(metric)) return false;
  if (!plateau.best) return true;
  return mode == configs::BestMode::kMax ? metric > *plateau.best : metric < *plateau.best;
}

PlateauAction observe(Plateau& plateau, const configs::Schedule& schedule, configs::BestMode mode,
                      double metric) {
  if (is_best(plateau, mode, metric)) {
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
