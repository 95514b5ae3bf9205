#include "sharding/fused_adamw.h"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

#include <algorithm>
#include <cmath>

#include "base/vectorize.h"

namespace muster::sharding {
namespace {

// One expression for one element and for eight: every operation rounds each element alone, so the bits are the same.
template <typename Value>
MUSTER_INLINE void update_moments(const Value& gradient, Value& exp_avg, Value& exp_avg_sq, const AdamWFactors& k) {
  const Value g = gradient * k.scale;
  exp_avg = exp_avg + k.one_minus_beta1 * (g - exp_avg);
  exp_avg_sq = k.beta2 * exp_avg_sq + k.one_minus_beta2 * g * g;
}
template <typename Value>
MUSTER_INLINE void update_master(Value& master, const Value& exp_avg, const Value& root, const AdamWFactors& k) {
  master = master * k.decay - k.step_size * exp_avg / (root / k.sqrt_bias2 + k.eps);
}

MUSTER_INLINE void update_from(std::int64_t i, const AdamWSpans& s, const AdamWFactors& k) {
  for (; i < s.count; ++i) {
    update_moments(s.gradient[i], s.exp_avg[i], s.exp_avg_sq[i], k);
    update_master(s.master[i], s.exp_avg[i], __builtin_sqrtf(s.exp_avg_sq[i]), k);
  }
}

void baseline(const AdamWSpans& s, const AdamWFactors& k) { update_from(0, s, k); }

#if defined(__x86_64__)
// Written out, since g++ does not vectorise a square root that might set errno.
using Eight = float __attribute__((vector_size(32), aligned(4), may_alias));

MUSTER_AVX2 void avx2(const AdamWSpans& s, const AdamWFactors& f) {
  const AdamWFactors k = f;
  std::int64_t i = 0;
  for (; i + 8 <= s.count; i += 8) {
    auto& master = *reinterpret_cast<Eight*>(s.master + i);
    auto& exp_avg = *reinterpret_cast<Eight*>(s.exp_avg + i);
    auto& exp_avg_sq = *reinterpret_cast<Eight*>(s.exp_avg_sq + i);
    Eight p = master, m = exp_avg, v = exp_avg_sq;
    update_moments(*reinterpret_cast<const Eight*>(s.gradient + i), m, v, k);
    const Eight root = _mm256_sqrt_ps(v);
    update_master(p, m, root, k);
    master = p, exp_avg = m, exp_avg_sq = v;
  }
  update_from(i, s, k);
}
#else
void avx2(const AdamWSpans& s, const AdamWFactors& k) { baseline(s, k); }
#endif

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
  cpu_has_avx2() ? avx2(spans, factors) : baseline(spans, factors);
}

// In blocks that are still in the first-level cache when they are rounded.
void adamw_bf16(const AdamWSpans& s, Bf16Bits* parameter, const AdamWFactors& factors) {
  constexpr std::int64_t kBlock = 1024;
  for (std::int64_t at = 0; at < s.count; at += kBlock) {
    const std::int64_t count = std::min(kBlock, s.count - at);
    adamw_fp32({s.gradient + at, s.master + at, s.exp_avg + at, s.exp_avg_sq + at, count}, factors);
    const float* __restrict from = s.master + at;
    Bf16Bits* __restrict to = parameter + at;
    for (std::int64_t i = 0; i < count; ++i) to[i] = from_float<Bf16Bits>(from[i]);
  }
}

}  // namespace muster::sharding
