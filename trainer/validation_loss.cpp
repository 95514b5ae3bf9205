#include "trainer/validation_loss.h"

#include <c10/core/GradMode.h>

#include <algorithm>
#include <cmath>
#include <future>

#include "base/progress.h"
#include "model/eval_mode.h"

namespace muster::trainer {
namespace {

std::vector<double> host_values(const at::Tensor& sums) {  // [terms] f64
  const at::Tensor host = sums.cpu();
  const double* data = host.const_data_ptr<double>();
  return {data, data + host.numel()};
}

}  // namespace

ValidationBatches validation_batches(const data::SampleSet& set, const data::SampleEncoder& encoder,
                                     const EvalOptions& options) {
  ValidationBatches batches;
  for (std::int64_t i = 0; i < set.size(); ++i) {
    if (!is_evaluated(set, i, options.max_samples) || encoder.measure(set.sample(i)).dropped)
      continue;
    const bool full = batches.empty() ||
                      static_cast<std::int64_t>(batches.back().size()) == options.samples_per_batch;
    if (full) batches.emplace_back();
    batches.back().push_back(i);
  }
  return batches;
}

ValidationLoss validation_loss(model::Detector& detector, const data::SampleSet& set,
                               const ValidationBatches& batches, const data::SampleEncoder& encoder,
                               const LossTerms& terms, const model::HeadLossOptions& head,
                               sharding::Collective& collective) {
  const c10::NoGradGuard no_grad;
  const model::EvalMode evaluating(detector);
  const auto num_terms = static_cast<std::size_t>(terms.size());
  const auto stride = static_cast<std::size_t>(collective.size());
  std::vector<double> slots(batches.size() * num_terms, 0.0);  // in the order of the batches
  Denominators counts;
  Progress progress("validation loss", static_cast<std::int64_t>(batches.size() / stride));
  const auto load = [&](std::size_t b) {
    return std::async(std::launch::async, [&, b] {
      return b < batches.size() ? encoder.encode(set, batches[b], true) : MicroBatch{};
    });
  };
  std::future<MicroBatch> next = load(static_cast<std::size_t>(collective.rank()));
  for (auto b = static_cast<std::size_t>(collective.rank()); b < batches.size(); b += stride) {
    const MicroBatch batch = next.get();
    next = load(b + stride);
    const auto sums = host_values(terms.sums(detector.validation_loss(batch, head)));
    std::ranges::copy(sums, slots.begin() + static_cast<std::ptrdiff_t>(b * num_terms));
    counts += batch.denominators;
    progress.add();
  }
  join_over_ranks(slots, collective);  // [C]
  std::vector<std::int64_t> agreed{counts.tokens, counts.boxes, counts.caption_tokens};
  sum_over_ranks(agreed, collective);  // [C]
  const Denominators all{agreed[0], agreed[1], agreed[2]};
  ValidationLoss result{.loss = terms.report(slots, all)};
  if (all.tokens > 0) result.perplexity = std::exp(result.loss.terms[LossTerms::kLm]);
  return result;
}

}  // namespace muster::trainer
