// AdamW (Loshchilov and Hutter, ICLR 2019) over one run of elements in one pass: clip, decoupled decay, moments, fp32
// master, parameter out in its own dtype.
#pragma once

#include <cstdint>

#include "sharding/adamw_types.h"
#include "sharding/bfloat16_bits.h"
#include "sharding/kernels.h"

namespace muster::sharding {

AdamWFactors adamw_factors(const AdamWRun& run);  // in fp64; shared by the CPU and CUDA kernels

void adamw_fp32(const AdamWSpans& spans, const AdamWFactors& factors);  // master is the parameter
void adamw_bf16(const AdamWSpans& spans, Bf16Bits* parameter, const AdamWFactors& factors);

}  // namespace muster::sharding
