#include "trainer/step_totals.h"

#include <algorithm>

namespace muster::trainer {
namespace {

std::span<const double> doubles_of(const at::Tensor& host) {  // [n] f64
  return {host.const_data_ptr<double>(), static_cast<std::size_t>(host.numel())};
}

}  // namespace

StepTotals::StepTotals(const data::StepBatches& step, const LossTerms& terms,
                       const sharding::Collective& collective)
    : terms_(terms),
      planned_(step.denominators),
      collective_(collective),
      num_loss_slots_(step.micro_batches.size() * collective.size() * terms.size()),
      counts_(kNumCounts, 0),
      values_(num_loss_slots_ + collective.size(), 0.0) {}

void StepTotals::add(const MicroBatch& batch, std::int64_t slot,
                     const std::vector<model::LossTerm>& sums) {
  sums_.emplace_back(slot * terms_.size(), terms_.sums(sums));
  counts_[kTokens] += batch.cu_seqlens.back();
  counts_[kImages] += batch.num_images();
  counts_[kLabels] += batch.denominators.tokens;
  counts_[kBoxes] += batch.denominators.boxes;
  counts_[kCaptionTokens] += batch.denominators.caption_tokens;
}

void StepTotals::close(bool checkpoint_written, std::int64_t memory_bytes) {
  for (const auto& [slot, sums] : sums_) {
    std::ranges::copy(doubles_of(sums.cpu()), values_.begin() + static_cast<std::ptrdiff_t>(slot));
  }
  counts_[kCheckpointWritten] = checkpoint_written;
  values_[num_loss_slots_ + collective_.rank()] = static_cast<double>(memory_bytes);
}

StepTotals::Agreed StepTotals::agreed(const sharding::StepVerdict& verdict) const {
  const Denominators seen{verdict.counts[kLabels], verdict.counts[kBoxes],
                          verdict.counts[kCaptionTokens]};
  TORCH_CHECK(seen == planned_, "the ranks' samples are not those of the sampler's plan");
  const std::span<const double> values(verdict.values);
  const std::span<const double> memory = values.subspan(num_loss_slots_);
  return {.loss = terms_.report(values.first(num_loss_slots_), planned_),
          .tokens = verdict.counts[kTokens],
          .images = verdict.counts[kImages],
          .memory_bytes = static_cast<std::int64_t>(std::ranges::max(memory)),
          .bytes_sent = collective_.stats().bytes_sent,
          .checkpoint_written = verdict.counts[kCheckpointWritten] == collective_.size()};
}

}  // namespace muster::trainer
