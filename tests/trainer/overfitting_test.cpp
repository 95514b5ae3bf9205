#include "trainer/overfitting.h"

#include <catch2/catch_test_macros.hpp>
#include <catch2/matchers/catch_matchers_string.hpp>
#include <cmath>

using Catch::Matchers::ContainsSubstring;
using muster::trainer::OverfitWatch;

TEST_CASE("a validation loss that rises while training falls is said once for each lowest point",
          "[unit]") {
  OverfitWatch watch;
  const auto evaluate = [&](std::int64_t step, double training, double validation) {
    for (int i = 0; i < 3; ++i) watch.step(training);
    watch.step(std::nan(""));
    return watch.evaluation(step, validation);
  };
  CHECK_FALSE(evaluate(10, 3.0, 3.0));
  CHECK_FALSE(evaluate(20, 2.0, 2.0));
  CHECK_FALSE(evaluate(30, 1.9, 2.05));  // within a twentieth
  const auto said = evaluate(40, 1.0, 2.5);
  REQUIRE(said);
  CHECK_THAT(*said, ContainsSubstring("2.5 after 2 at step 20") && ContainsSubstring("2 to 1"));
  CHECK_FALSE(evaluate(50, 0.9, 2.8));  // once
  CHECK_FALSE(evaluate(60, 0.8, 1.9));  // a new lowest
  CHECK(evaluate(70, 0.7, 2.1));
}

TEST_CASE("when both losses rise the run is not learning by heart", "[unit]") {
  OverfitWatch watch;
  watch.step(1.0);
  CHECK_FALSE(watch.evaluation(1, 1.0));
  watch.step(2.0);
  CHECK_FALSE(watch.evaluation(2, 2.0));
  CHECK_FALSE(watch.evaluation(3, 9.0));  // no step between
}
