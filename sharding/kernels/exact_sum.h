// An exact sum of doubles in fixed point: integer limbs add in any order, on any rank, to the same
// bits (the idea of Kulisch's accumulator). Made for sums of squares of floats: every such sum is a
// multiple of 2^-298 below 2^290.
#pragma once

#include <array>
#include <bit>
#include <cmath>
#include <cstdint>
#include <span>

#include "base/wide.h"

namespace muster::sharding {

class ExactSum {
 public:
  static constexpr int kLimbs = 19;  // of 32 bits, each in an int64 that leaves room for carries
  static constexpr int kLowestExponent = -320;  // of bit 0 of limb 0
  using Limbs = std::array<std::int64_t, kLimbs>;

  // REQUIRES: value finite; at most 2^30 calls between two normalize().
  static void add(double value, std::span<std::int64_t, kLimbs> limbs) {
    const auto bits = std::bit_cast<std::uint64_t>(std::abs(value));
    if (bits == 0) return;
    const std::int64_t sign = value < 0 ? -1 : 1;
    const int exponent = static_cast<int>(bits >> 52);
    std::uint64_t mantissa = (bits & ((1ULL << 52) - 1)) | (exponent != 0 ? 1ULL << 52 : 0);
    // Where the mantissa's lowest bit lies.
    int shift = (exponent != 0 ? exponent : 1) - 1075 - kLowestExponent;
    if (shift < 0) {
      mantissa = shift > -64 ? mantissa >> -shift : 0;  // sums of squared floats have zeros there
      shift = 0;
    }
    const int limb = shift / 32;
    const Wide wide = static_cast<Wide>(mantissa) << (shift % 32);
    limbs[limb] += sign * static_cast<std::int64_t>(wide & 0xffffffffU);
    limbs[limb + 1] += sign * static_cast<std::int64_t>((wide >> 32) & 0xffffffffU);
    if (const auto high = static_cast<std::int64_t>(wide >> 64); high != 0)
      limbs[limb + 2] += sign * high;
  }

  // Carries: every limb but the last ends in [0, 2^32). The value does not change.
  static void normalize(std::span<std::int64_t, kLimbs> limbs) {
    for (int i = 0; i + 1 < kLimbs; ++i) {
      limbs[i + 1] += limbs[i] >> 32;
      limbs[i] &= 0xffffffff;
    }
  }

  // The same double for the same value, whatever the limbs' carries.
  static double value(std::span<const std::int64_t, kLimbs> limbs) {
    Limbs copy;
    std::copy(limbs.begin(), limbs.end(), copy.begin());
    normalize(copy);
    double sum = 0;
    for (int i = kLimbs - 1; i >= 0; --i)
      sum += std::ldexp(static_cast<double>(copy[i]), kLowestExponent + 32 * i);
    return sum;
  }
};

}  // namespace muster::sharding
