// The global, world-size-independent order of micro-batches: a pure function of (sizes, budgets,
// seed, epoch). Rank r of N takes micro-batch k*N + r of every step, so the same run continues on
// any divisor of G.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "data/encoder.h"

namespace muster::data {

struct SamplerOptions {
  std::int64_t micro_batches_per_step = 0;                              // G
  std::int64_t max_tokens = 0, max_vision_tokens = 0, max_samples = 0;  // per micro-batch
  std::uint64_t seed = 0;
};

struct MicroBatchPlan {
  std::vector<std::int64_t> samples;
  std::int64_t tokens = 0, vision_tokens = 0;
  Denominators denominators;
};

class Sampler {
 public:
  // Throws DataError naming a sample that alone exceeds a micro-batch's budget, or when no sample
  // is left.
  Sampler(std::vector<SampleSize> sizes, SamplerOptions options);

  // The epoch's list: samples shuffled, packed in order (a new micro-batch when the next sample
  // does not fit), the list padded to a multiple of G with empty micro-batches so that every sample
  // is seen exactly once.
  std::vector<MicroBatchPlan> epoch(std::int64_t epoch) const;

  std::int64_t steps(std::int64_t epoch) const;  // optimizer steps of an epoch
  std::int64_t dropped() const;                  // samples left out by the vision-token budget
  const std::vector<SampleSize>& sizes() const { return sizes_; }

 private:
  std::vector<SampleSize> sizes_;
  SamplerOptions options_;
};

// Where a run stands: the next step to take. Saved in every checkpoint; independent of the world
// size.
struct Cursor {
  std::int64_t epoch = 0, step_in_epoch = 0;
  bool operator==(const Cursor&) const = default;
};

}  // namespace muster::data
