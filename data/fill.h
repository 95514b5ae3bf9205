// Samples dealt into micro-batches: as full as the limits allow, and as equal in cost as they can
// be, so that no rank waits for another. A pure function of its arguments, in whole numbers.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "base/rng.h"
#include "data/sample_size.h"
#include "data/token_cost.h"

namespace muster::data {

struct MicroBatchPlan {
  std::vector<std::int64_t> samples;
  std::int64_t tokens = 0, vision_tokens = 0;
  std::int64_t cost = 0;
  Denominators denominators;
  bool as_stored = true;  // false: its samples are augmented for their epoch
};

// Of one micro-batch.
struct FillLimits {
  std::int64_t max_tokens = 0, max_vision_tokens = 0, max_samples = 0;

  bool hold(const MicroBatchPlan& plan, const SampleSize& sample) const {
    return plan.tokens + sample.tokens <= max_tokens &&
           plan.vision_tokens + sample.vision_tokens <= max_vision_tokens &&
           static_cast<std::int64_t>(plan.samples.size()) < max_samples;
  }
};

// Takes `order`, in which a sample may occur several times, a window of about 64 micro-batches at a
// time. Within a window the costliest samples come first and each goes to the cheapest micro-batch
// that has room; what finds none waits for the next window. Micro-batches are then grouped into
// steps of `group` with others of about their cost, within a window of 16 steps. The list is a
// multiple of `group` long; the last steps' samples are spread over all their micro-batches, and
// where there are fewer samples than micro-batches, empty ones come last. REQUIRES that every
// sample fits an empty micro-batch.
std::vector<MicroBatchPlan> fill(std::span<const std::int64_t> order,
                                 std::span<const SampleSize> sizes, const FillLimits& limits,
                                 const TokenCost& cost, std::int64_t group, Rng rng);

// How well a list of micro-batches, of one step or of many, uses its ranks.
struct FillReport {
  std::int64_t steps = 0;
  double fill = 0;     // mean over micro-batches: the largest used part of a limit
  double balance = 0;  // mean over steps: mean cost / largest cost of its micro-batches
};
FillReport report_fill(std::span<const MicroBatchPlan> list, const FillLimits& limits,
                       std::int64_t group);

}  // namespace muster::data
