#include <ATen/Parallel.h>

#include <bit>
#include <cmath>
#include <vector>

#include "base/vectorize.h"
#include "sharding/kernels/exact_sum.h"
#include "sharding/kernels/float16_bits.h"
#include "sharding/kernels/fused_adamw.h"
#include "sharding/kernels/kernels.h"

namespace muster::sharding {
namespace {

constexpr std::int64_t kGrain = 1 << 16;  // elements per parallel task
constexpr std::int64_t kBlock = 16;       // elements per fp64 block of the norm

template <typename T>
T* data_of(const at::Tensor& t) {
  return static_cast<T*>(t.data_ptr());
}

// Calls body with a pointer of the tensor's element type: fp32 or bf16, the types of a wire.
template <typename Body>
void with_type(const at::Tensor& t, Body body) {
  if (t.scalar_type() == at::kFloat)
    body(data_of<float>(t));
  else
    body(data_of<Bf16Bits>(t));
}
template <typename Body>
void with_gradient_type(const at::Tensor& t, Body body) {
  if (t.scalar_type() == at::kHalf)
    body(data_of<Fp16Bits>(t));
  else
    with_type(t, body);
}

// Returns whether every stored value is finite.
template <typename Wire, typename Gradient>
MUSTER_INLINE bool copy_cast(Wire* __restrict wire, const Gradient* __restrict gradient,
                             std::int64_t count, bool add) {
  std::uint32_t largest = 0;  // magnitude bits: infinity and NaN compare above every finite value
  for (std::int64_t i = 0; i < count; ++i) {
    const float value = add ? to_float(wire[i]) + to_float(gradient[i]) : to_float(gradient[i]);
    const Wire rounded = from_float<Wire>(value);
    const std::uint32_t magnitude =
        __builtin_bit_cast(std::uint32_t, to_float(rounded)) & 0x7fffffffU;
    largest = magnitude > largest ? magnitude : largest;
    wire[i] = rounded;
  }
  return largest < 0x7f800000U;
}

template <typename Wire>
MUSTER_INLINE void add_rank(float* __restrict acc, const Wire* __restrict wire,
                            std::int64_t count) {
  for (std::int64_t i = 0; i < count; ++i) acc[i] += to_float(wire[i]);
}
// These write the first ranks onto zeros: acc is not read. 0 + x is x, but for a negative zero.
template <typename Wire>
MUSTER_INLINE void set_to_first(float* __restrict acc, const Wire* __restrict first,
                                std::int64_t count) {
  for (std::int64_t i = 0; i < count; ++i) acc[i] = 0.0f + to_float(first[i]);
}
template <typename Wire>
MUSTER_INLINE void set_to_two(float* __restrict acc, const Wire* __restrict first,
                              const Wire* __restrict second, std::int64_t count) {
  for (std::int64_t i = 0; i < count; ++i)
    acc[i] = (0.0f + to_float(first[i])) + to_float(second[i]);
}

// Adds ranks in order, in blocks that stay in the first-level cache. At the inner loop's entry the
// block holds acc + rows[0] + ... + rows[next - 1].
template <typename Wire>
void add_ranks(Rows rows, float* acc, std::int64_t count, bool fresh) {
  constexpr std::int64_t kCacheBlock = 4096;
  const auto row = [&](std::size_t r) { return reinterpret_cast<const Wire*>(rows[r]); };
  for (std::int64_t begin = 0; begin < count; begin += kCacheBlock) {
    const std::int64_t n = std::min(kCacheBlock, count - begin);
    std::size_t next = 0;
    if (fresh && rows.size() > 1) {
      set_to_two(acc + begin, row(0) + begin, row(1) + begin, n);
      next = 2;
    } else if (fresh) {
      set_to_first(acc + begin, row(0) + begin, n);
      next = 1;
    }
    for (; next < rows.size(); ++next) add_rank(acc + begin, row(next) + begin, n);
  }
}

constexpr std::int64_t kTreeBlock = 1024;  // elements; with those of every level in the cache

// sum = the rows' tree, from element `begin` on; `spare` has a block for each level below. A zero
// is +0 whatever the signs of the rows' zeros, so that it does not matter how many were added at
// once.
template <typename Wire>
void sum_tree(Rows rows, std::int64_t begin, std::int64_t count, float* sum, float* spare) {
  const auto row = [&](std::size_t r) { return reinterpret_cast<const Wire*>(rows[r]) + begin; };
  if (rows.size() == 1) return set_to_first(sum, row(0), count);
  if (rows.size() == 2) return set_to_two(sum, row(0), row(1), count);
  const std::size_t half = rows.size() / 2;
  sum_tree<Wire>(rows.first(half), begin, count, sum, spare);
  sum_tree<Wire>(rows.last(half), begin, count, spare, spare + kTreeBlock);
  add_rank(sum, spare, count);
}

template <typename Wire>
void add_rows_tree(Rows rows, float* acc, std::int64_t count, bool fresh) {
  const auto levels = static_cast<std::size_t>(std::bit_width(rows.size()));
  std::vector<float> spare(levels * kTreeBlock);
  for (std::int64_t begin = 0; begin < count; begin += kTreeBlock) {
    const std::int64_t n = std::min(kTreeBlock, count - begin);
    if (fresh) {
      sum_tree<Wire>(rows, begin, n, acc + begin, spare.data());
      continue;
    }
    sum_tree<Wire>(rows, begin, n, spare.data(), spare.data() + kTreeBlock);
    add_rank(acc + begin, spare.data(), n);
  }
}

constexpr std::int64_t kSums = 64;  // blocks that are added at once

// What 64 blocks add up to.
struct Squares {
  alignas(64) double blocks[kSums];  // each block's fp64 sum
  bool together = false;             // upper + lower is their exact sum
  double upper = 0;
  double lower = 0;
};

using FourDoubles = double __attribute__((vector_size(32), may_alias));
using FourWords = std::int64_t __attribute__((vector_size(32), may_alias));

// Adds in a fixed tree: four strided lanes, then pairs. Squares of floats are exact in fp64.
MUSTER_INLINE void square_blocks(const float* x, std::int64_t count, double* sums) {
  for (std::int64_t b = 0; b < count; ++b, x += kBlock) {
    FourDoubles lanes = {0, 0, 0, 0};
    for (int i = 0; i < kBlock; i += 4) {
      const FourDoubles value = {x[i], x[i + 1], x[i + 2], x[i + 3]};
      lanes += value * value;
    }
    sums[b] = (lanes[0] + lanes[1]) + (lanes[2] + lanes[3]);
  }
}

// The exponents of the largest block and of the smallest that is not zero.
struct Exponents {
  std::int64_t top;
  std::int64_t bottom;
  bool all_zero;
};

MUSTER_INLINE Exponents exponents_of(const double* blocks) {
  constexpr std::int64_t kInfinity = 0x7ffLL << 52;
  // Blocks are >= 0 or NaN, and of doubles >= 0 the bits are in the order of the values: integers
  // can be compared. At the loop's entry the lanes hold the extremes of the blocks before i, zeros
  // left out of the smallest.
  FourWords largest = {0, 0, 0, 0};
  FourWords smallest = largest + kInfinity;
  for (std::int64_t i = 0; i < kSums; i += 4) {
    const auto bits = *reinterpret_cast<const FourWords*>(blocks + i);
    const FourWords counted = bits == 0 ? smallest : bits;
    largest = bits > largest ? bits : largest;
    smallest = counted < smallest ? counted : smallest;
  }
  std::int64_t most = 0;
  std::int64_t least = kInfinity;
  for (int lane = 0; lane < 4; ++lane) {
    most = std::max<std::int64_t>(most, largest[lane]);
    least = std::min<std::int64_t>(least, smallest[lane]);
  }
  return {most >> 52, least >> 52, most == 0 && least == kInfinity};
}

// Adds all blocks exactly. REQUIRES: `s` is fresh but for its blocks. Each is cut at a bit that all
// share: the upper parts are multiples of 2^(top-46), the lower ones of 2^(top-93), few enough of
// either that fp64 adds them without rounding, in any order. They do not go together when one is
// too small beside the largest for that, or not finite.
MUSTER_INLINE void add_together(Squares& s) {
  const Exponents e = exponents_of(s.blocks);
  s.together = e.all_zero;
  if (s.together || e.top >= 0x7f0 || e.bottom < 64 || e.bottom < e.top - 41) return;
  // The cut's last bit is that of 2^(top-46): adding it rounds there, taking it away leaves the
  // upper part. At the loop's entry upper + lower is the exact sum of the blocks before i, lane by
  // lane.
  const double cut = std::ldexp(1.5, static_cast<int>(e.top) - 1023 + 6);
  FourDoubles upper = {0, 0, 0, 0};
  FourDoubles lower = upper;
  for (std::int64_t i = 0; i < kSums; i += 4) {
    const auto value = *reinterpret_cast<const FourDoubles*>(s.blocks + i);
    const FourDoubles high = (value + cut) - cut;
    upper += high;
    lower += value - high;
  }
  s.upper = (upper[0] + upper[1]) + (upper[2] + upper[3]);
  s.lower = (lower[0] + lower[1]) + (lower[2] + lower[3]);
  s.together = true;
}

MUSTER_INLINE void square_body(const float* x, std::int64_t blocks, Squares& s) {
  square_blocks(x, blocks, s.blocks);
  if (blocks == kSums) add_together(s);
}
void square_baseline(const float* x, std::int64_t blocks, Squares& s) { square_body(x, blocks, s); }
MUSTER_AVX2 void square_avx2(const float* x, std::int64_t blocks, Squares& s) {
  square_body(x, blocks, s);
}

// Adds the squares of at most kSums blocks to the limbs. Returns whether all were finite.
bool add_blocks(const float* x, std::int64_t blocks,
                std::span<std::int64_t, ExactSum::kLimbs> limbs, bool wide) {
  Squares s;
  if (wide)
    square_avx2(x, blocks, s);
  else
    square_baseline(x, blocks, s);
  if (s.together) {
    ExactSum::add(s.upper, limbs);
    ExactSum::add(s.lower, limbs);
    return true;
  }
  bool finite = true;
  for (std::int64_t b = 0; b < blocks; ++b) {
    if (std::isfinite(s.blocks[b]))
      ExactSum::add(s.blocks[b], limbs);
    else
      finite = false;
  }
  return finite;
}

bool sum_squares(const float* x, std::int64_t count,
                 std::span<std::int64_t, ExactSum::kLimbs> limbs, bool wide) {
  bool finite = true;
  std::int64_t i = 0;
  while (i + kBlock <= count) {
    const std::int64_t blocks = std::min(kSums, (count - i) / kBlock);
    finite &= add_blocks(x + i, blocks, limbs, wide);
    i += blocks * kBlock;
  }
  if (i < count) {
    float tail[kBlock] = {};
    std::copy(x + i, x + count, tail);
    finite &= add_blocks(tail, 1, limbs, wide);
  }
  return finite;
}

class CpuKernels final : public Kernels {
 public:
  void to_wire(const at::Tensor& gradient, const at::Tensor& wire, bool add,
               const at::Tensor& nonfinite) override {
    bool finite = true;
    with_type(wire, [&](auto* to) {
      with_gradient_type(
          gradient, [&](const auto* from) { finite = copy_cast(to, from, wire.numel(), add); });
    });
    if (!finite) *data_of<std::uint8_t>(nonfinite) = 1;
  }

  void accumulate(Rows rows, at::ScalarType type, const at::Tensor& acc, bool fresh) override {
    if (type == at::kFloat)
      add_ranks<float>(rows, data_of<float>(acc), acc.numel(), fresh);
    else
      add_ranks<Bf16Bits>(rows, data_of<float>(acc), acc.numel(), fresh);
  }

  void add_tree(Rows rows, at::ScalarType type, const at::Tensor& acc, bool fresh) override {
    if (type == at::kFloat)
      add_rows_tree<float>(rows, data_of<float>(acc), acc.numel(), fresh);
    else
      add_rows_tree<Bf16Bits>(rows, data_of<float>(acc), acc.numel(), fresh);
  }

  void add_squares(const at::Tensor& values, const at::Tensor& limbs,
                   const at::Tensor& nonfinite) override {
    const std::span<std::int64_t, ExactSum::kLimbs> sum(data_of<std::int64_t>(limbs),
                                                        ExactSum::kLimbs);
    if (!sum_squares(data_of<float>(values), values.numel(), sum, isa_ != CpuIsa::kBaseline))
      *data_of<std::uint8_t>(nonfinite) = 1;
    ExactSum::normalize(sum);
  }

  void adamw(const AdamWRun& run) override {
    const AdamWFactors factors = adamw_factors(run);
    const AdamWSpans spans = adamw_spans(run);
    at::parallel_for(0, spans.count, kGrain, [&](std::int64_t begin, std::int64_t end) {
      adamw_cpu(spans, begin, end, factors, isa_);
    });
  }

  at::Tensor host_zeros(std::int64_t elements, at::ScalarType type) override {
    return at::zeros({elements}, type);
  }

 private:
  const CpuIsa isa_ = best_cpu_isa();
};

}  // namespace

std::unique_ptr<Kernels> make_cpu_kernels() { return std::make_unique<CpuKernels>(); }

}  // namespace muster::sharding
