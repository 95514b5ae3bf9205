#include "sharding/fused_adamw.h"

#include <cmath>

#include "sharding/vectorize.h"

namespace muster::sharding {
namespace {

struct NoOutput {};

MUSTER_INLINE void store(NoOutput, std::int64_t, float) {}
MUSTER_INLINE void store(Bf16Bits* __restrict out, std::int64_t i, float value) {
  out[i] = from_float<Bf16Bits>(value);
}

template <typename Out>
MUSTER_INLINE void update(const AdamWSpans& s, Out out, const AdamWFactors& f) {
  const float* __restrict gradient = s.gradient;
  float* __restrict master = s.master;
  float* __restrict exp_avg = s.exp_avg;
  float* __restrict exp_avg_sq = s.exp_avg_sq;
  const std::int64_t count = s.count;
  const AdamWFactors k = f;
  for (std::int64_t i = 0; i < count; ++i) {
    const float g = gradient[i] * k.scale;
    const float m = exp_avg[i] + k.one_minus_beta1 * (g - exp_avg[i]);
    const float v = k.beta2 * exp_avg_sq[i] + k.one_minus_beta2 * g * g;
    const float denominator = __builtin_sqrtf(v) / k.sqrt_bias2 + k.eps;
    const float p = master[i] * k.decay - k.step_size * m / denominator;
    exp_avg[i] = m;
    exp_avg_sq[i] = v;
    master[i] = p;
    store(out, i, p);
  }
}

MUSTER_AVX2 void fp32_avx2(const AdamWSpans& s, const AdamWFactors& f) { update(s, NoOutput{}, f); }
void fp32_baseline(const AdamWSpans& s, const AdamWFactors& f) { update(s, NoOutput{}, f); }
MUSTER_AVX2 void bf16_avx2(const AdamWSpans& s, Bf16Bits* out, const AdamWFactors& f) { update(s, out, f); }
void bf16_baseline(const AdamWSpans& s, Bf16Bits* out, const AdamWFactors& f) { update(s, out, f); }

}  // namespace

AdamWFactors adamw_factors(const AdamWRun& run) {
  const auto step = static_cast<double>(run.step);
  return {.scale = static_cast<float>(run.scale),
          .decay = static_cast<float>(1 - run.lr * run.weight_decay),
          .one_minus_beta1 = static_cast<float>(1 - run.beta1),
          .beta2 = static_cast<float>(run.beta2),
          .one_minus_beta2 = static_cast<float>(1 - run.beta2),
          .step_size = static_cast<float>(run.lr / (1 - std::pow(run.beta1, step))),
          .sqrt_bias2 = static_cast<float>(std::sqrt(1 - std::pow(run.beta2, step))),
          .eps = static_cast<float>(run.eps)};
}

void adamw_fp32(const AdamWSpans& spans, const AdamWFactors& factors) {
  cpu_has_avx2() ? fp32_avx2(spans, factors) : fp32_baseline(spans, factors);
}

void adamw_bf16(const AdamWSpans& spans, Bf16Bits* parameter, const AdamWFactors& factors) {
  cpu_has_avx2() ? bf16_avx2(spans, parameter, factors) : bf16_baseline(spans, parameter, factors);
}

}  // namespace muster::sharding
