// Exact sums of squares of floats on the CPU: fp64 sums of 16-element blocks, added exactly.
#pragma once

#include <cstdint>
#include <span>

#include "sharding/kernels/exact_sum.h"
#include "sharding/kernels/fused_adamw.h"

namespace muster::sharding {

// Returns whether all blocks were finite; one that is not is left out. Carries may be left in the
// limbs.
bool add_squares_cpu(const float* x, std::int64_t count,
                     std::span<std::int64_t, ExactSum::kLimbs> limbs, CpuIsa isa);

}  // namespace muster::sharding
