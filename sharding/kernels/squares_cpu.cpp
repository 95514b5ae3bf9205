#include "sharding/kernels/squares_cpu.h"

#include <algorithm>
#include <cmath>

#include "base/vectorize.h"

namespace muster::sharding {
namespace {

constexpr std::int64_t kBlock = 16;  // elements per fp64 block of the norm
constexpr std::int64_t kSums = 64;   // blocks that are added at once

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

}  // namespace

bool add_squares_cpu(const float* x, std::int64_t count,
                     std::span<std::int64_t, ExactSum::kLimbs> limbs, CpuIsa isa) {
  const bool wide = isa != CpuIsa::kBaseline;
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

void UpdateSquares::add(const float* before, const float* after, std::int64_t count, CpuIsa isa) {
  float change[kAdamWBlock];
  for (std::int64_t at = 0; at < count; at += kAdamWBlock) {
    const std::int64_t n = std::min(kAdamWBlock, count - at);
    for (std::int64_t i = 0; i < n; ++i) change[i] = after[at + i] - before[at + i];
    add_squares_cpu(change, n, changes, isa);
  }
  add_squares_cpu(after, count, weights, isa);
}

}  // namespace muster::sharding
