// Found, false and missed as COCO counts them at an IoU of 0.5.
#include "trainer/evaluate/judgement.h"

#include <catch2/catch_approx.hpp>
#include <catch2/catch_test_macros.hpp>

using namespace muster::trainer;
using Catch::Approx;

TEST_CASE("judgement: the better score takes the truth, the other is false", "[unit]") {
  const std::vector<TrueBox> truth = {{{0, 0, 10, 10}, 1}, {{20, 0, 30, 10}, 1}};
  const Judgement result =
      judge(truth, std::vector<PredictedBox>{{{0, 0, 10, 9}, 1, 0.6},     // IoU 0.9
                                             {{0, 0, 10, 10}, 1, 0.5}});  // IoU 1, too late
  CHECK(result.predictions[0].outcome == Outcome::kFound);
  CHECK(result.predictions[0].overlap == Approx(0.9));
  CHECK(result.predictions[1].outcome == Outcome::kFalse);
  CHECK(result.found_with[0] == 0.6);
  CHECK_FALSE(result.found_with[1].has_value());
}

TEST_CASE("judgement: class and overlap must fit", "[unit]") {
  const std::vector<TrueBox> truth = {{{0, 0, 10, 10}, 1}};
  const Judgement result =
      judge(truth, std::vector<PredictedBox>{{{0, 0, 10, 10}, 2, 0.9},   // another class
                                             {{0, 0, 10, 4.9}, 1, 0.8},  // IoU 0.49
                                             {{0, 0, 10, 10}, -1, 0.7},  // no class at all
                                             {{0, 0, 10, 5}, 1, 0.1}});  // IoU 0.5
  for (const std::size_t i : {0, 1, 2}) CHECK(result.predictions[i].outcome == Outcome::kFalse);
  CHECK(result.predictions[0].truth == 0);  // so that its label can be named
  CHECK(result.predictions[3].outcome == Outcome::kFound);
}

TEST_CASE("judgement: a crowd takes any number, which count neither way", "[unit]") {
  const std::vector<TrueBox> truth = {{{0, 0, 100, 100}, 1, true}};
  const Judgement result = judge(
      truth, std::vector<PredictedBox>{
                 {{0, 0, 10, 10}, 1, 0.9}, {{50, 50, 60, 60}, 1, 0.8}, {{0, 0, 10, 10}, 2, 0.7}});
  CHECK(result.predictions[0].outcome == Outcome::kInCrowd);
  CHECK(result.predictions[1].outcome == Outcome::kInCrowd);
  CHECK(result.predictions[2].outcome == Outcome::kFalse);
}

TEST_CASE("judgement: what lies below a threshold can be left out afterwards", "[unit]") {
  const std::vector<TrueBox> truth = {{{0, 0, 10, 10}, 1}, {{0, 0, 10, 8}, 1}};
  std::vector<PredictedBox> all = {
      {{0, 0, 10, 8}, 1, 0.9}, {{0, 0, 10, 10}, 1, 0.4}, {{0, 0, 10, 9}, 1, 0.2}};
  const Judgement with_all = judge(truth, all);
  all.resize(2);
  const Judgement without = judge(truth, all);
  for (const std::size_t i : {0, 1}) {
    CHECK(with_all.predictions[i].outcome == without.predictions[i].outcome);
    CHECK(with_all.predictions[i].truth == without.predictions[i].truth);
  }
}
