#include "trainer/evaluate/eval_batches.h"

#include <algorithm>
#include <functional>

#include "base/parallel.h"

namespace muster::trainer {
namespace {

struct MeasuredSample {
  std::int64_t sample = 0;
  std::int64_t cost = 0;
  data::SampleSize size = {};
};

std::vector<MeasuredSample> measured_samples(const data::SampleSet& set,
                                             const data::SampleEncoder& encoder,
                                             const EvalOptions& options, int threads) {
  std::vector<MeasuredSample> measured;
  for (std::int64_t i = 0; i < set.size(); ++i)
    if (is_evaluated(set, i, options.max_samples)) measured.push_back({.sample = i});
  parallel_for("measuring", static_cast<std::int64_t>(measured.size()), threads,
               [&](std::int64_t k) {
                 MeasuredSample& one = measured[static_cast<std::size_t>(k)];
                 one.size = encoder.measure(set.sample(one.sample));
                 one.cost = options.cost.of(one.size);
               });
  std::erase_if(measured, [](const MeasuredSample& one) { return one.size.dropped; });
  return measured;
}

// In the order that they come in.
SampleBatches batches_in_order(const std::vector<MeasuredSample>& samples,
                               const data::FillLimits& limits) {
  SampleBatches batches;
  BatchRoom room(limits);
  for (const MeasuredSample& one : samples) {
    if (room.begins(one.size)) batches.emplace_back();
    batches.back().push_back(one.sample);
  }
  return batches;
}

}  // namespace

bool BatchRoom::begins(const data::SampleSize& size) {
  const bool fits = !batch_.samples.empty() && limits_.hold(batch_, size);
  if (!fits) batch_ = {};
  batch_.samples.push_back(0);  // how many there are is all that counts
  batch_.tokens += size.tokens;
  batch_.vision_tokens += size.vision_tokens;
  return !fits;
}

EvalBatches eval_batches(const data::SampleSet& set, const data::SampleEncoder& encoder,
                         const EvalOptions& options, int threads) {
  std::vector<MeasuredSample> samples = measured_samples(set, encoder, options, threads);
  std::ranges::stable_sort(samples, std::ranges::greater(), &MeasuredSample::cost);
  EvalBatches batches{.images = eval_images(set, options.max_samples), .boxes = {}, .all = {}};
  batches.all = batches_in_order(samples, options.limits);
  std::erase_if(samples,
                [&](const MeasuredSample& one) { return !batches.images.has(one.sample); });
  batches.boxes = batches_in_order(samples, options.limits);
  return batches;
}

RankShare::RankShare(std::size_t entries, const sharding::Collective& collective)
    : first_(static_cast<std::size_t>(collective.rank())),
      stride_(static_cast<std::size_t>(collective.size())) {
  if (first_ < entries)
    count_ = static_cast<std::int64_t>((entries - first_ + stride_ - 1) / stride_);
}

}  // namespace muster::trainer
