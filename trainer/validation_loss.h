// Every term of the loss on samples that are not trained on, as training would count it: sums over
// all of them, divided by their counts. Nothing is augmented, dropped out or noised.
#pragma once

#include <cstdint>
#include <vector>

#include "data/encoder.h"
#include "data/sample_set.h"
#include "model/detector.h"
#include "sharding/collectives/collective.h"
#include "trainer/evaluate/evaluate.h"
#include "trainer/loss_terms.h"

namespace muster::trainer {

struct ValidationLoss {
  LossTerms::Report loss;
  double perplexity = -1;  // exp of the `lm` term; -1 where no text is learned
};

// The samples that are evaluated, in batches that are the same for every number of ranks. Those
// over the vision-token budget are left out, so each is measured: worth keeping.
using ValidationBatches = std::vector<std::vector<std::int64_t>>;
ValidationBatches validation_batches(const data::SampleSet& set, const data::SampleEncoder& encoder,
                                     const EvalOptions& options);

// [C] The same bits for every number of ranks.
ValidationLoss validation_loss(model::Detector& detector, const data::SampleSet& set,
                               const ValidationBatches& batches, const data::SampleEncoder& encoder,
                               const LossTerms& terms, const model::HeadLossOptions& head,
                               sharding::Collective& collective);

}  // namespace muster::trainer
