#include "trainer/schedule.h"

#include <catch2/catch_approx.hpp>
#include <catch2/catch_test_macros.hpp>

using namespace muster::trainer;
using Catch::Approx;

namespace {

using enum muster::configs::ScheduleKind;

muster::configs::Schedule make(muster::configs::ScheduleKind kind) {
  return {kind, 110, 10, 0.1, 2};
}

}  // namespace

TEST_CASE("schedules warm up linearly, peak at 1 and end at the ratio", "[unit]") {
  for (const auto kind : {kLinear, kCosine}) {
    CAPTURE(muster::configs::name_of(kind));
    CHECK(lr_factor(make(kind), 0) == Approx(0.1));
    CHECK(lr_factor(make(kind), 9) == Approx(1.0));
    CHECK(lr_factor(make(kind), 60) == Approx(0.55));  // halfway, both kinds
    CHECK(lr_factor(make(kind), 110) == Approx(0.1));
    CHECK(lr_factor(make(kind), 500) == Approx(0.1));
  }
  CHECK(lr_factor(make(kLinear), 35) == Approx(0.775));
  CHECK(lr_factor(make(kCosine), 35) == Approx(0.1 + 0.9 * 0.5 * (1 + std::cos(M_PI / 4))));
  CHECK(lr_factor(make(kConstant), 100) == 1);
  CHECK(lr_factor(make(kOneCycle), 9) == Approx(1.0));
  CHECK(lr_factor(make(kOneCycle), 4) == Approx(0.52));  // halfway up from 1/25
}

TEST_CASE("plateau lowers the rate after `patience` stale evaluations, other kinds stop",
          "[unit]") {
  Plateau plateau;
  CHECK(observe(plateau, make(kPlateau), 0.3) == PlateauAction::kNone);
  CHECK(observe(plateau, make(kPlateau), 0.3) == PlateauAction::kNone);
  CHECK(observe(plateau, make(kPlateau), 0.2) == PlateauAction::kLowered);
  CHECK(plateau.factor == 0.5);
  CHECK(observe(plateau, make(kPlateau), 0.4) == PlateauAction::kNone);
  CHECK(plateau.best == 0.4);

  Plateau early;
  observe(early, make(kCosine), 0.3);
  CHECK(observe(early, make(kCosine), 0.1) == PlateauAction::kNone);
  CHECK(observe(early, make(kCosine), 0.1) == PlateauAction::kStop);
}
