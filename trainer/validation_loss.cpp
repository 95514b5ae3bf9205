#include "trainer/validation_loss.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "base/progress.h"
#include "model/eval_mode.h"
#include "trainer/evaluate/found_boxes.h"

namespace muster::trainer {
namespace {

std::vector<double> host_values(const at::Tensor& sums) {  // [terms] f64
  const at::Tensor host = sums.cpu();
  const double* data = host.const_data_ptr<double>();
  return {data, data + host.numel()};
}

struct BatchSums {
  std::vector<double> terms;
  Denominators counts;
};

}  // namespace

ValidationLoss validation_loss(model::Detector& detector, const data::SampleSet& set,
                               const SampleBatches& batches, const data::SampleEncoder& encoder,
                               const LossTerms& terms, const model::HeadLossOptions& head,
                               const PassThreads& threads, sharding::Collective& collective) {
  const model::EvalMode evaluating(detector);
  const auto num_terms = static_cast<std::size_t>(terms.size());
  std::vector<double> slots(batches.size() * num_terms, 0.0);  // in the order of the batches
  Denominators counts;
  const RankShare own(batches.size(), collective);
  Passes passes(threads, detector.backbone().token_embedding().device());
  Progress progress("validation loss", own.count());
  const auto sums_of = [&](std::int64_t i) {
    const MicroBatch batch = encoder.encode(set, batches[own[i]], true);
    BatchSums sums{.terms = {}, .counts = batch.denominators};
    sums.terms = passes.in_model(
        [&] { return host_values(terms.sums(detector.validation_loss(batch, head))); });
    return sums;
  };
  passes.run(own.count(), sums_of, [&](std::int64_t i, const BatchSums& sums) {
    std::ranges::copy(sums.terms, slots.begin() + static_cast<std::ptrdiff_t>(own[i] * num_terms));
    counts += sums.counts;
    progress.add();
  });
  join_over_ranks(slots, collective);  // [C]
  std::vector<std::int64_t> agreed{counts.tokens, counts.boxes, counts.caption_tokens};
  sum_over_ranks(agreed, collective);  // [C]
  const Denominators all{agreed[0], agreed[1], agreed[2]};
  ValidationLoss result{.loss = terms.report(slots, all)};
  if (all.tokens > 0) result.perplexity = std::exp(result.loss.terms[LossTerms::kLm]);
  return result;
}

}  // namespace muster::trainer
