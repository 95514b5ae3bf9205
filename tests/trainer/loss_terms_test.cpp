#include "trainer/loss_terms.h"

#include <catch2/catch_approx.hpp>
#include <catch2/catch_test_macros.hpp>

using namespace muster;
using namespace muster::trainer;
using Catch::Approx;
using Kind = model::LossTerm::Denominator;

namespace {

configs::Loss weights() {
  configs::Loss w{};
  w.lm = 0.5;
  w.box_l1 = 5;
  w.caption = 2;
  w.aux = 0.1;
  return w;
}

model::LossTerm term(const char* name, double value, Kind kind) {
  return {name, at::tensor(value, at::kFloat), kind};
}

std::vector<double> slots_of(const at::Tensor& sums) {
  return {sums.const_data_ptr<double>(), sums.const_data_ptr<double>() + sums.numel()};
}

}  // namespace

TEST_CASE("terms are weighed and divided by the step's own denominator", "[unit]") {
  const LossTerms terms(weights(), configs::Labels::kOpen);
  const Denominators step{10, 4, 8};
  const std::vector<model::LossTerm> batch = {
      term("lm", 20, Kind::kTokens), term("box_l1", 2, Kind::kBoxes),
      term("caption", 16, Kind::kCaptionTokens), term("aux_box_l1", 4, Kind::kBoxes)};
  // 0.5*20/10 + 5*2/4 + 2*16/8 + 0.1*5*4/4
  const double expected = 1.0 + 2.5 + 4.0 + 0.5;
  CHECK(terms.weigh(batch, step).item<double>() == Approx(expected));
  CHECK(terms.report(slots_of(terms.sums(batch)), step).total == Approx(expected));
}

TEST_CASE("a term is divided by the count it names itself, whatever its own name ends with",
          "[unit]") {
  const LossTerms terms({{.name = "box_caption", .weight = 1, .denominator = Kind::kBoxes}});
  const Denominators step{.tokens = 10, .boxes = 4, .caption_tokens = 8};
  const std::vector<model::LossTerm> batch = {term("box_caption", 2, Kind::kBoxes)};
  CHECK(terms.weigh(batch, step).item<double>() == Approx(0.5));
  CHECK(terms.report(slots_of(terms.sums(batch)), step).terms[0] == Approx(0.5));
}

TEST_CASE("a model that divides by another count than the list says is an internal error",
          "[unit]") {
  const LossTerms terms(weights(), configs::Labels::kOpen);
  CHECK_THROWS(terms.weigh({term("caption", 1, Kind::kBoxes)}, {1, 1, 1}));
  CHECK_THROWS(terms.sums({term("caption", 1, Kind::kBoxes)}));
}

TEST_CASE("the report adds micro-batches in global order, whichever rank held them", "[unit]") {
  const LossTerms terms(weights(), configs::Labels::kOpen);
  const std::vector<double> one = slots_of(terms.sums({term("lm", 0.1, Kind::kTokens)})),
                            two = slots_of(terms.sums({term("lm", 0.7, Kind::kTokens)}));
  std::vector<double> slots = one;
  slots.insert(slots.end(), two.begin(), two.end());
  const LossTerms::Report report = terms.report(slots, {2, 0, 0});
  CHECK(report.terms[0] == (static_cast<double>(0.1f) + static_cast<double>(0.7f)) * 0.5);
}

TEST_CASE("zero weights leave a term out of the graph, unknown terms are an internal error",
          "[unit]") {
  const LossTerms terms(weights(), configs::Labels::kOpen);
  CHECK_FALSE(terms.weigh({term("giou", 1, Kind::kBoxes)}, {1, 1, 1}).defined());
  CHECK_THROWS(terms.weigh({term("gioo", 1, Kind::kBoxes)}, {1, 1, 1}));
}
