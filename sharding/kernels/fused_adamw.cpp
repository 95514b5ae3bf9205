#include "sharding/kernels/fused_adamw.h"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

#include <algorithm>
#include <cmath>

#include "base/rng.h"
#include "base/vectorize.h"  // last: sets how the loops below are compiled
#include "sharding/kernels/float16_bits.h"

namespace muster::sharding {
namespace {

// One block, seen as fp32: where it lies if it is stored so, else in buffers.
struct Working {
  const float* gradient;
  float* master;
  float* exp_avg;
  float* exp_avg_sq;
  std::int64_t count;
};

// One expression for one element and for many: every operation rounds each element alone, so the
// bits are the same.
template <typename Value>
MUSTER_INLINE void update_moments(const Value& gradient, Value& exp_avg, Value& exp_avg_sq,
                                  const AdamWFactors& k) {
  const Value g = gradient * k.scale;
  exp_avg = exp_avg + k.one_minus_beta1 * (g - exp_avg);
  exp_avg_sq = k.beta2 * exp_avg_sq + k.one_minus_beta2 * g * g;
}
template <typename Value>
MUSTER_INLINE void update_master(Value& master, const Value& exp_avg, const Value& root,
                                 const AdamWFactors& k) {
  master = master * k.decay - k.step_size * exp_avg / (root / k.sqrt_bias2 + k.eps);
}

MUSTER_INLINE void update_from(std::int64_t i, const Working& s, const AdamWFactors& k) {
  for (; i < s.count; ++i) {
    update_moments(s.gradient[i], s.exp_avg[i], s.exp_avg_sq[i], k);
    update_master(s.master[i], s.exp_avg[i], __builtin_sqrtf(s.exp_avg_sq[i]), k);
  }
}

void update_baseline(const Working& s, const AdamWFactors& k) { update_from(0, s, k); }

#if defined(__x86_64__)
// These are written out, since g++ does not vectorise a square root that might set errno.
using Eight = float __attribute__((vector_size(32), aligned(4), may_alias));
using Sixteen = float __attribute__((vector_size(64), aligned(4), may_alias));

MUSTER_AVX2 void update_avx2(const Working& s, const AdamWFactors& f) {
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
    master = p;
    exp_avg = m;
    exp_avg_sq = v;
  }
  update_from(i, s, k);
}

MUSTER_AVX512 void update_avx512(const Working& s, const AdamWFactors& f) {
  const AdamWFactors k = f;
  std::int64_t i = 0;
  for (; i + 16 <= s.count; i += 16) {
    auto& master = *reinterpret_cast<Sixteen*>(s.master + i);
    auto& exp_avg = *reinterpret_cast<Sixteen*>(s.exp_avg + i);
    auto& exp_avg_sq = *reinterpret_cast<Sixteen*>(s.exp_avg_sq + i);
    Sixteen p = master, m = exp_avg, v = exp_avg_sq;
    update_moments(*reinterpret_cast<const Sixteen*>(s.gradient + i), m, v, k);
    // The mask means all lanes; g++ 12 warns of its own plain square root.
    const Sixteen root = _mm512_mask_sqrt_ps(v, 0xffff, v);
    update_master(p, m, root, k);
    master = p;
    exp_avg = m;
    exp_avg_sq = v;
  }
  update_from(i, s, k);
}
#endif

void update(const Working& working, const AdamWFactors& factors, CpuIsa isa) {
#if defined(__x86_64__)
  if (isa == CpuIsa::kAvx512) return update_avx512(working, factors);
  if (isa == CpuIsa::kAvx2) return update_avx2(working, factors);
#endif
  (void)isa;
  update_baseline(working, factors);
}

MUSTER_INLINE void ema_body(float* __restrict ema, const float* __restrict master,
                            std::int64_t count, float one_minus_decay) {
  for (std::int64_t i = 0; i < count; ++i) ema[i] = ema[i] + one_minus_decay * (master[i] - ema[i]);
}
void ema_baseline(float* ema, const float* master, std::int64_t count, float one_minus_decay) {
  ema_body(ema, master, count, one_minus_decay);
}
MUSTER_AVX2 void ema_avx2(float* ema, const float* master, std::int64_t count,
                          float one_minus_decay) {
  ema_body(ema, master, count, one_minus_decay);
}

// While the block's masters are in the cache.
void update_ema(const Working& w, const AdamWSpans& s, std::int64_t at, const AdamWFactors& factors,
                CpuIsa isa) {
  if (s.ema == nullptr) return;
  if (isa == CpuIsa::kBaseline)
    ema_baseline(s.ema + at, w.master, w.count, factors.one_minus_ema);
  else
    ema_avx2(s.ema + at, w.master, w.count, factors.one_minus_ema);
}

template <typename T>
const float* widen(const T* __restrict from, float* __restrict to, std::int64_t count) {
  for (std::int64_t i = 0; i < count; ++i) to[i] = to_float(from[i]);
  return to;
}

Bf16Bits* bf16_at(void* base, std::int64_t at) { return static_cast<Bf16Bits*>(base) + at; }

float* load_moment(void* moment, Element type, std::int64_t at, std::int64_t count, float* buffer) {
  if (type == Element::kFloat32) return static_cast<float*>(moment) + at;
  widen(bf16_at(moment, at), buffer, count);
  return buffer;
}

float* load_master(const AdamWSpans& s, std::int64_t at, std::int64_t count,
                   float* __restrict buffer) {
  if (s.master != nullptr) return s.master + at;
  if (s.parameter_type == Element::kFloat32) return static_cast<float*>(s.parameter) + at;
  const Bf16Bits* __restrict high = bf16_at(s.parameter, at);
  if (s.remainder == nullptr) {
    widen(high, buffer, count);
  } else {
    const std::uint16_t* __restrict low = s.remainder + at;
    for (std::int64_t i = 0; i < count; ++i) buffer[i] = join_halves(high[i], low[i]);
  }
  return buffer;
}

// `shift` picks the element's own 16 of its random bits.
void store_bf16(const float* __restrict from, Bf16Bits* __restrict to, const AdamWSpans& s,
                std::int64_t at, std::int64_t count, std::uint32_t key, int shift) {
  if (!s.stochastic) {
    for (std::int64_t i = 0; i < count; ++i) to[i] = high_half(from[i]);
    return;
  }
  const std::int64_t first = s.first + at;
  for (std::int64_t i = 0; i < count; ++i) {
    to[i] = round_by_chance(from[i], (random_bits(key, first + i) >> shift) & 0xffffU);
  }
}

void store_moments(const Working& w, const AdamWSpans& s, std::int64_t at) {
  if (s.moment_type == Element::kFloat32) return;
  store_bf16(w.exp_avg, bf16_at(s.exp_avg, at), s, at, w.count, s.key, 0);
  store_bf16(w.exp_avg_sq, bf16_at(s.exp_avg_sq, at), s, at, w.count, s.key, 16);
}

void store_parameter(const Working& w, const AdamWSpans& s, std::int64_t at) {
  const float* __restrict from = w.master;
  if (s.parameter_type == Element::kFloat16) {
    Fp16Bits* to = static_cast<Fp16Bits*>(s.parameter) + at;
    for (std::int64_t i = 0; i < w.count; ++i) to[i] = from_float<Fp16Bits>(from[i]);
  } else if (s.parameter_type == Element::kBFloat16 && s.master == nullptr &&
             s.remainder == nullptr) {
    store_bf16(from, bf16_at(s.parameter, at), s, at, w.count, ~s.key, 0);
  } else if (s.parameter_type == Element::kBFloat16) {
    Bf16Bits* __restrict to = bf16_at(s.parameter, at);
    for (std::int64_t i = 0; i < w.count; ++i) to[i] = high_half(from[i]);
    if (s.remainder == nullptr) return;
    std::uint16_t* __restrict low = s.remainder + at;
    for (std::int64_t i = 0; i < w.count; ++i) low[i] = low_half(from[i]);
  }
}

Element element_of(const at::Tensor& t) {
  if (t.scalar_type() == at::kFloat) return Element::kFloat32;
  return t.scalar_type() == at::kHalf ? Element::kFloat16 : Element::kBFloat16;
}

void* memory_of(const at::Tensor& t) { return t.defined() ? t.data_ptr() : nullptr; }

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
          .eps = static_cast<float>(run.eps),
          .one_minus_ema = static_cast<float>(1 - run.ema_decay)};
}

AdamWSpans adamw_spans(const AdamWRun& run) {
  return {.gradient = static_cast<const float*>(memory_of(run.gradient)),
          .count = run.gradient.numel(),
          .parameter = memory_of(run.parameter),
          .parameter_type = element_of(run.parameter),
          .master = static_cast<float*>(memory_of(run.master)),
          .remainder = static_cast<std::uint16_t*>(memory_of(run.remainder)),
          .exp_avg = memory_of(run.exp_avg),
          .exp_avg_sq = memory_of(run.exp_avg_sq),
          .moment_type = element_of(run.exp_avg),
          .ema = static_cast<float*>(memory_of(run.ema)),
          .stochastic = run.stochastic,
          .key = static_cast<std::uint32_t>(
              splitmix64(run.seed ^ splitmix64(static_cast<std::uint64_t>(run.step))) >> 32),
          .first = run.first};
}

bool cpu_has(CpuIsa isa) {
  if (isa == CpuIsa::kAvx512) return cpu_has_avx512();
  if (isa == CpuIsa::kAvx2) return cpu_has_avx2();
  return isa == CpuIsa::kBaseline;
}

CpuIsa best_cpu_isa() {
  for (const CpuIsa isa : {CpuIsa::kAvx512, CpuIsa::kAvx2}) {
    if (cpu_has(isa)) return isa;
  }
  return CpuIsa::kBaseline;
}

void adamw_cpu(const AdamWSpans& s, std::int64_t begin, std::int64_t end,
               const AdamWFactors& factors, CpuIsa isa, UpdateSquares* squares) {
  alignas(64) float master[kAdamWBlock], exp_avg[kAdamWBlock], exp_avg_sq[kAdamWBlock];
  alignas(64) float before[kAdamWBlock];
  for (std::int64_t at = begin; at < end; at += kAdamWBlock) {
    const std::int64_t count = std::min(kAdamWBlock, end - at);
    const Working working{
        .gradient = s.gradient + at,
        .master = load_master(s, at, count, master),
        .exp_avg = load_moment(s.exp_avg, s.moment_type, at, count, exp_avg),
        .exp_avg_sq = load_moment(s.exp_avg_sq, s.moment_type, at, count, exp_avg_sq),
        .count = count};
    if (squares != nullptr) std::copy_n(working.master, count, before);
    update(working, factors, isa);
    update_ema(working, s, at, factors, isa);
    store_moments(working, s, at);
    store_parameter(working, s, at);
    // The master is read again: one that is bf16 was rounded when it was stored.
    if (squares != nullptr) squares->add(before, load_master(s, at, count, master), count, isa);
  }
}

}  // namespace muster::sharding
