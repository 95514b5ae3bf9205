#include <ATen/Parallel.h>

#include <cmath>

#include "sharding/exact_sum.h"
#include "sharding/float16_bits.h"
#include "sharding/fused_adamw.h"
#include "sharding/kernels.h"
#include "base/vectorize.h"

namespace muster::sharding {
namespace {

constexpr std::int64_t kGrain = 1 << 16;  // elements per parallel task
constexpr std::int64_t kBlock = 16;       // elements per fp64 block of the norm

template <typename T>
T* data_of(const at::Tensor& t) {
  return static_cast<T*>(t.data_ptr());
}

// Calls body(pointer of the tensor's element type): fp32 or bf16, the types of a wire.
template <typename Body>
void with_type(const at::Tensor& t, Body body) {
  t.scalar_type() == at::kFloat ? body(data_of<float>(t)) : body(data_of<Bf16Bits>(t));
}
template <typename Body>
void with_gradient_type(const at::Tensor& t, Body body) {
  t.scalar_type() == at::kHalf ? body(data_of<Fp16Bits>(t)) : with_type(t, body);
}

// Returns whether every stored value is finite.
template <typename Wire, typename Gradient>
MUSTER_INLINE bool copy_cast(Wire* __restrict wire, const Gradient* __restrict gradient, std::int64_t count, bool add) {
  std::uint32_t largest = 0;  // magnitude bits: infinity and NaN compare above every finite value
  for (std::int64_t i = 0; i < count; ++i) {
    const float value = add ? to_float(wire[i]) + to_float(gradient[i]) : to_float(gradient[i]);
    const Wire rounded = from_float<Wire>(value);
    const std::uint32_t magnitude = __builtin_bit_cast(std::uint32_t, to_float(rounded)) & 0x7fffffffU;
    largest = magnitude > largest ? magnitude : largest;
    wire[i] = rounded;
  }
  return largest < 0x7f800000U;
}

template <typename Wire>
MUSTER_INLINE void add_rank(float* __restrict acc, const Wire* __restrict wire, std::int64_t count) {
  for (std::int64_t i = 0; i < count; ++i) acc[i] += to_float(wire[i]);
}

// Ranks in order, in blocks that stay in the first-level cache.
template <typename Wire>
MUSTER_INLINE void add_ranks(float* acc, const Wire* wire, std::int64_t ranks, std::int64_t count) {
  constexpr std::int64_t kCacheBlock = 4096;
  for (std::int64_t begin = 0; begin < count; begin += kCacheBlock) {
    const std::int64_t n = std::min(kCacheBlock, count - begin);
    for (std::int64_t r = 0; r < ranks; ++r) add_rank(acc + begin, wire + r * count + begin, n);
  }
}

// A fixed tree: four strided lanes, then pairs.
MUSTER_INLINE double block_squares(const float* x) {
  double lanes[4] = {0, 0, 0, 0};
  for (int i = 0; i < kBlock; i += 4) {
    for (int lane = 0; lane < 4; ++lane) {
      const double value = x[i + lane];
      lanes[lane] += value * value;
    }
  }
  return (lanes[0] + lanes[1]) + (lanes[2] + lanes[3]);
}

bool sum_squares(const float* x, std::int64_t count, std::span<std::int64_t, ExactSum::kLimbs> limbs) {
  bool finite = true;
  const auto add = [&](const float* block) {
    const double sum = block_squares(block);
    std::isfinite(sum) ? ExactSum::add(sum, limbs) : void(finite = false);
  };
  std::int64_t i = 0;
  for (; i + kBlock <= count; i += kBlock) add(x + i);
  if (i < count) {
    float tail[kBlock] = {};
    std::copy(x + i, x + count, tail);
    add(tail);
  }
  return finite;
}

class CpuKernels final : public Kernels {
 public:
  void to_wire(const at::Tensor& gradient, const at::Tensor& wire, bool add, const at::Tensor& nonfinite) override {
    bool finite = true;
    with_type(wire, [&](auto* to) {
      with_gradient_type(gradient, [&](const auto* from) { finite = copy_cast(to, from, wire.numel(), add); });
    });
    if (!finite) *data_of<std::uint8_t>(nonfinite) = 1;
  }

  void accumulate(const at::Tensor& wire, const at::Tensor& acc) override {
    with_type(wire, [&](const auto* from) { add_ranks(data_of<float>(acc), from, wire.size(0), acc.numel()); });
  }

  void add_squares(const at::Tensor& values, const at::Tensor& limbs, const at::Tensor& nonfinite) override {
    const std::span<std::int64_t, ExactSum::kLimbs> sum(data_of<std::int64_t>(limbs), ExactSum::kLimbs);
    if (!sum_squares(data_of<float>(values), values.numel(), sum)) *data_of<std::uint8_t>(nonfinite) = 1;
    ExactSum::normalize(sum);
  }

  void adamw(const AdamWRun& run) override {
    const AdamWFactors factors = adamw_factors(run);
    const AdamWSpans spans = adamw_spans(run);
    at::parallel_for(0, spans.count, kGrain,
                     [&](std::int64_t begin, std::int64_t end) { adamw_cpu(spans, begin, end, factors, isa_); });
  }

 private:
  const CpuIsa isa_ = best_cpu_isa();
};

}  // namespace

std::unique_ptr<Kernels> make_cpu_kernels() { return std::make_unique<CpuKernels>(); }

}  // namespace muster::sharding
