// AdamW (Loshchilov and Hutter, ICLR 2019) over one run of elements in one pass: unscale and clip,
// decoupled decay, moments, fp32 master, parameter out in its own dtype.
#pragma once

#include "sharding/kernels/adamw_types.h"
#include "sharding/kernels/kernels.h"

namespace muster::sharding {

// The CPU and CUDA kernels share these.
AdamWFactors adamw_factors(const AdamWRun& run);  // in fp64
AdamWSpans adamw_spans(const AdamWRun& run);

// Instruction sets, each with the same bits.
enum class CpuIsa { kBaseline, kAvx2, kAvx512 };
bool cpu_has(CpuIsa isa);
CpuIsa best_cpu_isa();

void adamw_cpu(const AdamWSpans& spans, std::int64_t begin, std::int64_t end,
               const AdamWFactors& factors, CpuIsa isa);

}  // namespace muster::sharding
