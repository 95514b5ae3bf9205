#include "trainer/step_totals.h"

#include <ATen/ATen.h>

#include <catch2/catch_test_macros.hpp>

namespace muster::trainer {
namespace {

using Kind = LossTerms::Denominator;

const LossTerms kTerms({{.name = "lm", .weight = 1, .denominator = Kind::kTokens},
                        {.name = "giou", .weight = 1, .denominator = Kind::kBoxes}});

// Two micro-batches, one rank; the second one has no sample.
data::StepBatches two_micro_batches() {
  data::StepBatches step;
  step.micro_batches.resize(2);
  step.indices = {0, 1};
  step.micro_batches[0].cu_seqlens = {0, 7};
  step.micro_batches[0].denominators = {.tokens = 4, .boxes = 2, .caption_tokens = 0};
  step.denominators = step.micro_batches[0].denominators;
  return step;
}

std::vector<model::LossTerm> sums() {
  return {{"lm", at::tensor(8.0f), Kind::kTokens}, {"giou", at::tensor(3.0f), Kind::kBoxes}};
}

// What a world of one agrees on.
sharding::StepVerdict agree(const StepTotals& totals) {
  sharding::StepVerdict verdict;
  verdict.counts.assign(totals.counts().begin(), totals.counts().end());
  verdict.values.assign(totals.values().begin(), totals.values().end());
  return verdict;
}

TEST_CASE("the message has loss sums by slot, then memory by rank", "[unit]") {
  const auto self = sharding::make_self();
  const data::StepBatches step = two_micro_batches();
  StepTotals totals(step, kTerms, *self);
  totals.add(step.micro_batches[0], step.indices[0], sums());
  totals.close(/*checkpoint_written=*/true, /*memory_bytes=*/1000);
  CHECK(std::vector<double>(totals.values().begin(), totals.values().end()) ==
        std::vector<double>{8, 3, 0, 0, 1000});
  CHECK(totals.counts()[StepTotals::kTokens] == 7);
  CHECK(totals.counts()[StepTotals::kLabels] == 4);

  const StepTotals::Agreed agreed = totals.agreed(agree(totals));
  CHECK(agreed.loss.terms == std::vector<double>{2, 1.5});
  CHECK(agreed.tokens == 7);
  CHECK(agreed.memory_bytes == 1000);
  CHECK(agreed.checkpoint_written);
}

TEST_CASE("ranks that saw other samples than planned are an internal error", "[unit]") {
  const auto self = sharding::make_self();
  const data::StepBatches step = two_micro_batches();
  StepTotals totals(step, kTerms, *self);
  totals.close(false, 0);  // the planned micro-batch was never added
  CHECK_THROWS(totals.agreed(agree(totals)));
}

}  // namespace
}  // namespace muster::trainer
