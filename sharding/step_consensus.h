// The one collective per step by which all ranks take the same decisions: an int64 SUM whose length
// depends on the layout and on the caller's counts alone. Integer sums do not depend on the order
// of ranks, so every rank reads the same bits.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "sharding/engine_core.h"

namespace muster::sharding {

struct LocalStep {
  int bad_gradient = -1;  // first parameter (registration order) with a bad gradient on this rank
  int bad_sum = -1;       // likewise, whose reduced sum in this rank's shard is bad
  std::span<const std::uint8_t> used;   // per parameter
  std::span<const std::int64_t> limbs;  // [groups, ExactSum::kLimbs]: squares of this rank's shard
  std::span<const std::int64_t> counts;
  std::span<const double> values;
  bool stop = false;
};

struct AgreedStep {
  StepVerdict verdict;
  std::vector<std::int64_t> used;  // per parameter: on how many ranks
};

// [C] Tells this rank's part and returns what all ranks agree on.
AgreedStep agree(EngineCore& core, const LocalStep& local);

}  // namespace muster::sharding
