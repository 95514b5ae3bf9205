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
  float one_minus_ema;    // of the running mean
};

enum class Element { kFloat32, kBFloat16, kFloat16 };

// What is stored in 16 bits is read into fp32, updated, and rounded back: to nearest, or by chance
// in proportion to the distances (stochastic), with random bits that depend on the key and the
// element's place in the flat space alone.
struct AdamWSpans {
  const float* gradient;
  std::int64_t count;
  void* parameter;
  Element parameter_type;
  // The fp32 value behind a 16-bit parameter; null: the parameter is its own master, unless ...
  float* master;
  // ... its low half is here, so that both halves are the exact fp32 master.
  std::uint16_t* remainder;
  void* exp_avg;
  void* exp_avg_sq;
  Element moment_type;  // fp32 or bf16
  // The running mean of the master; null: none is kept. ema += one_minus_ema * (master - ema), in
  // fp32, with the new master before it is rounded.
  float* ema;
  bool stochastic;
  std::uint32_t key;
  std::int64_t first;  // flat position of element 0
};

}  // namespace muster::sharding
