// Every term of the loss on samples that are not trained on, as training would count it: sums over
// all of them, divided by their counts. Nothing is augmented, dropped out or noised.
#pragma once

#include "data/encoder.h"
#include "data/sample_set.h"
#include "model/detector.h"
#include "sharding/collectives/collective.h"
#include "trainer/evaluate/eval_batches.h"
#include "trainer/evaluate/passes.h"
#include "trainer/loss_terms.h"

namespace muster::trainer {

struct ValidationLoss {
  LossTerms::Report loss;
  double perplexity = -1;  // exp of the `lm` term; -1 where no text is learned
};

// [C] Of all batches. The same bits for every number of ranks and threads.
ValidationLoss validation_loss(model::Detector& detector, const data::SampleSet& set,
                               const SampleBatches& batches, const data::SampleEncoder& encoder,
                               const LossTerms& terms, const model::HeadLossOptions& head,
                               const PassThreads& threads, sharding::Collective& collective);

}  // namespace muster::trainer
