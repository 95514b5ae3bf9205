// AdamW (Loshchilov and Hutter, ICLR 2019) over one run of elements in one pass: clip, decoupled decay, moments, fp32
// master, parameter out in its own dtype.
#pragma once

#include <cstdint>

#include "sharding/bfloat16_bits.h"
#include "sharding/kernels.h"

namespace muster::sharding {

// Everything that is the same for all elements of a run, rounded to fp32 once.
struct AdamWFactors {
  float scale, decay;  // decay = 1 - lr * weight_decay
  float one_minus_beta1, beta2, one_minus_beta2;
  float step_size;        // lr / (1 - beta1^step)
  float sqrt_bias2, eps;  // sqrt(1 - beta2^step)
};
AdamWFactors adamw_factors(const AdamWRun& run);  // in fp64; shared by the CPU and CUDA kernels

struct AdamWSpans {
  const float* gradient;
  float* master;
  float* exp_avg;
  float* exp_avg_sq;
  std::int64_t count;
};
void adamw_fp32(const AdamWSpans& spans, const AdamWFactors& factors);  // master is the parameter
void adamw_bf16(const AdamWSpans& spans, Bf16Bits* parameter, const AdamWFactors& factors);

}  // namespace muster::sharding
