// What an AdamW kernel works on, in types that a CUDA source can read too: no LibTorch here.
#pragma once

#include <cstdint>

namespace muster::sharding {

// Everything that is the same for all elements of a run, rounded to fp32 once.
struct AdamWFactors {
  float scale, decay;  // decay = 1 - lr * weight_decay
  float one_minus_beta1, beta2, one_minus_beta2;
  float step_size;        // lr / (1 - beta1^step)
  float sqrt_bias2, eps;  // sqrt(1 - beta2^step)
};

struct AdamWSpans {
  const float* gradient;
  float* master;
  float* exp_avg;
  float* exp_avg_sq;
  std::int64_t count;
};

}  // namespace muster::sharding
