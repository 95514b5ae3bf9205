#include "model/eval_mode.h"

#include <catch2/catch_test_macros.hpp>
#include <stdexcept>

#include "model/tiny_detector.h"

namespace muster::model {
namespace {

Detector small() {
  return Detector::create(QwenVL::random(test::tiny_qwen(), {}, 4), test::tiny_head(),
                          test::kCaptionEnd, 4);
}

TEST_CASE("a detector evaluates inside the scope and goes on as it was", "[unit]") {
  Detector detector = small();
  for (const bool training : {true, false}) {
    detector.set_training(training);
    {
      const EvalMode evaluating(detector);
      CHECK_FALSE(detector.training());
      CHECK_NOTHROW(detector.detect(test::image_batch({{4, 4}}, 1)));
    }
    CHECK(detector.training() == training);
  }
}

TEST_CASE("an exception inside the scope leaves the detector as it was", "[unit][fault]") {
  Detector detector = small();
  const auto fail = [&] {
    const EvalMode evaluating(detector);
    throw std::runtime_error("a picture that cannot be decoded");
  };
  CHECK_THROWS_AS(fail(), std::runtime_error);
  CHECK(detector.training());
}

}  // namespace
}  // namespace muster::model
