#include "trainer/schedule.h"

#include <catch2/catch_approx.hpp>
#include <catch2/catch_test_macros.hpp>
#include <cmath>

using namespace muster::trainer;
using Catch::Approx;

namespace {

using enum muster::configs::ScheduleKind;
using enum muster::configs::BestMode;

muster::configs::Schedule make(muster::configs::ScheduleKind kind) {
  return {.kind = kind,
          .epochs = {},
          .max_steps = 110,
          .warmup_ratio = {},
          .warmup_steps = 10,
          .min_lr_ratio = 0.1,
          .step_at = {0.5, 0.9},
          .step_factor = 0.1,
          .decay_ratio = 0.2,
          .patience = 2};
}

RunPosition placed(double step) { return {step, 110}; }

}  // namespace

TEST_CASE("schedules warm up linearly, peak at 1 and end at the ratio", "[unit]") {
  for (const auto kind : {kLinear, kCosine}) {
    CAPTURE(muster::configs::name_of(kind));
    CHECK(lr_factor(make(kind), placed(0)) == Approx(0.1));
    CHECK(lr_factor(make(kind), placed(9)) == Approx(1.0));
    CHECK(lr_factor(make(kind), placed(60)) == Approx(0.55));  // halfway, both kinds
    CHECK(lr_factor(make(kind), placed(110)) == Approx(0.1));
    CHECK(lr_factor(make(kind), placed(500)) == Approx(0.1));
  }
  CHECK(lr_factor(make(kLinear), placed(35)) == Approx(0.775));
  CHECK(lr_factor(make(kCosine), placed(35)) == Approx(0.1 + 0.9 * 0.5 * (1 + std::cos(M_PI / 4))));
  CHECK(lr_factor(make(kConstant), placed(100)) == 1);
  CHECK(lr_factor(make(kOneCycle), placed(9)) == Approx(1.0));
  CHECK(lr_factor(make(kOneCycle), placed(4)) == Approx(0.52));  // halfway up from 1/25
}

TEST_CASE("plateau lowers the rate after `patience` stale evaluations, other kinds stop",
          "[unit]") {
  Plateau plateau;
  CHECK(observe(plateau, make(kPlateau), kMax, 0.3) == PlateauAction::kNone);
  CHECK(observe(plateau, make(kPlateau), kMax, 0.3) == PlateauAction::kNone);
  CHECK(observe(plateau, make(kPlateau), kMax, 0.2) == PlateauAction::kLowered);
  CHECK(plateau.factor == 0.5);
  CHECK(observe(plateau, make(kPlateau), kMax, 0.4) == PlateauAction::kNone);
  CHECK(plateau.best == 0.4);

  Plateau early;
  observe(early, make(kCosine), kMax, 0.3);
  CHECK(observe(early, make(kCosine), kMax, 0.1) == PlateauAction::kNone);
  CHECK(observe(early, make(kCosine), kMax, 0.1) == PlateauAction::kStop);
}

TEST_CASE("step lowers the rate at its parts of the run, wsd along a line at its end", "[unit]") {
  CHECK(lr_factor(make(kStep), placed(4)) == Approx(0.5));  // warm-up
  CHECK(lr_factor(make(kStep), placed(54)) == 1);
  CHECK(lr_factor(make(kStep), placed(55)) == Approx(0.1));
  CHECK(lr_factor(make(kStep), placed(98)) == Approx(0.1));
  CHECK(lr_factor(make(kStep), placed(99)) == Approx(0.01));
  CHECK(lr_factor(make(kWsd), placed(88)) == 1);
  CHECK(lr_factor(make(kWsd), placed(99)) == Approx(0.55));  // halfway down
  CHECK(lr_factor(make(kWsd), placed(110)) == Approx(0.1));
  CHECK(lr_factor(make(kWsd), placed(200)) == Approx(0.1));
}

TEST_CASE("a warm-up said as a part of the run is the one said in steps", "[unit]") {
  muster::configs::Schedule ratio = make(kCosine);
  ratio.warmup_steps.reset();
  ratio.warmup_ratio = 10.0 / 110;
  for (const double step : {0, 5, 9, 10, 60, 109})
    CHECK(lr_factor(ratio, placed(step)) == Approx(lr_factor(make(kCosine), placed(step))));
}

TEST_CASE("what is best depends on the mode, and nothing is not a number", "[unit]") {
  Plateau none;
  CHECK(is_best(none, kMax, 0.0));
  CHECK_FALSE(is_best(none, kMax, std::nan("")));
  const Plateau half{.best = 0.5};
  CHECK(is_best(half, kMax, 0.6));
  CHECK_FALSE(is_best(half, kMax, 0.5));
  CHECK(is_best(half, kMin, 0.4));
  CHECK_FALSE(is_best(half, kMin, 0.6));
  CHECK_FALSE(is_best(half, kMin, std::nan("")));
}
