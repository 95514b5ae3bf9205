// The global, world-size-independent order of micro-batches: a pure function of (sizes, budgets,
// seed, epoch). Rank r of N takes micro-batch k*N + r of every step, so the same run continues on
// any divisor of G.
#pragma once

#include <cstdint>
#include <functional>
#include <limits>
#include <vector>

#include "data/epoch_order.h"
#include "data/fill.h"
#include "data/sample_size.h"
#include "data/token_cost.h"

namespace muster::data {

struct SamplerOptions {
  std::int64_t micro_batches_per_step = 0;                              // G
  std::int64_t max_tokens = 0, max_vision_tokens = 0, max_samples = 0;  // per micro-batch
  std::uint64_t seed = 0;
  TokenCost cost = {};
  std::vector<PackWeight> packs = {};  // cover all samples in order; empty: each once
  std::vector<double> repeat = {};     // per sample; empty: 1
  // The run's step from which on samples are trained as stored.
  std::int64_t close_step = std::numeric_limits<std::int64_t>::max();
  // The same in epochs: the first that is trained as stored.
  std::int64_t close_epoch = std::numeric_limits<std::int64_t>::max();

  FillLimits limits() const { return {max_tokens, max_vision_tokens, max_samples}; }
};

// Sizes of all samples as an epoch trains on them. A sample is dropped there exactly when it is
// dropped as stored, and fits a micro-batch.
using SizesOfEpoch = std::function<std::vector<SampleSize>(std::int64_t epoch)>;

class Sampler {
 public:
  // `sizes`: as stored. `augmented`: empty when samples are always trained as stored. Throws
  // DataError naming a sample that alone exceeds a micro-batch's budget, or when no sample is left.
  Sampler(std::vector<SampleSize> sizes, SamplerOptions options, SizesOfEpoch augmented = {});

  // The epoch's list, which starts with the run's step `first_step` (0 before the first): its
  // samples in the epoch's order, dealt into micro-batches (data/fill.h), every occurrence exactly
  // once. The length is a multiple of G. Where close_step lies inside the epoch, what is left from
  // there on is dealt anew, as stored.
  std::vector<MicroBatchPlan> epoch(std::int64_t epoch, std::int64_t first_step = 0) const;

  // Optimizer steps of an epoch.
  std::int64_t steps(std::int64_t epoch, std::int64_t first_step = 0) const;
  FillReport report(const std::vector<MicroBatchPlan>& list) const;
  FillReport report_step(const std::vector<MicroBatchPlan>& list, std::int64_t step) const;
  std::int64_t dropped() const;  // samples left out by the vision-token budget
  const std::vector<SampleSize>& sizes() const { return sizes_; }  // as stored
  const SamplerOptions& options() const { return options_; }

 private:
  std::vector<MicroBatchPlan> deal(const std::vector<std::int64_t>& order,
                                   const std::vector<SampleSize>& sizes, std::int64_t epoch) const;
  void close(std::vector<MicroBatchPlan>& list, std::int64_t epoch, std::int64_t step) const;

  std::vector<SampleSize> sizes_;
  SamplerOptions options_;
  SizesOfEpoch augmented_;
  EpochOrder order_;
};

}  // namespace muster::data
