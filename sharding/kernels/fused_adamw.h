// AdamW (Loshchilov and Hutter, ICLR 2019) over one run of elements in one pass: unscale and clip,
// decoupled decay, moments, fp32 master, parameter out in its own dtype.
#pragma once

#include "sharding/kernels/adamw_types.h"
#include "sharding/kernels/exact_sum.h"
#include "sharding/kernels/kernels.h"

namespace muster::sharding {

// The CPU and CUDA kernels share these.
AdamWFactors adamw_factors(const AdamWRun& run);  // in fp64
AdamWSpans adamw_spans(const AdamWRun& run);

// Instruction sets, each with the same bits.
enum class CpuIsa { kBaseline, kAvx2, kAvx512 };
bool cpu_has(CpuIsa isa);
CpuIsa best_cpu_isa();

// Squares of the masters as an update leaves them, and of what it changed in them.
struct UpdateSquares {
  ExactSum::Limbs weights{};
  ExactSum::Limbs changes{};

  // REQUIRES: `before` stands a multiple of 16 elements behind the parameter's first of this rank.
  void add(const float* before, const float* after, std::int64_t count, CpuIsa isa);
};

inline constexpr std::int64_t kAdamWBlock = 1024;  // elements that are in the first cache together

// REQUIRES: begin is a multiple of kAdamWBlock. With `squares` the blocks' are added to it while
// they are in the cache.
void adamw_cpu(const AdamWSpans& spans, std::int64_t begin, std::int64_t end,
               const AdamWFactors& factors, CpuIsa isa, UpdateSquares* squares = nullptr);

}  // namespace muster::sharding
