// bfloat16 as its 16 bits, in forms a compiler vectorises (builtins: a library call would not be
// inlined into loops that are optimised otherwise than it). from_float rounds as c10::BFloat16
// does: to nearest, ties to even.
#pragma once

#include <cstdint>

namespace muster::sharding {

using Bf16Bits = std::uint16_t;

__attribute__((always_inline)) inline std::uint32_t bits_of(float value) {
  return __builtin_bit_cast(std::uint32_t, value);
}
__attribute__((always_inline)) inline bool is_nan(std::uint32_t bits) {
  return (bits & 0x7fffffffU) > 0x7f800000U;
}
constexpr Bf16Bits kBf16Nan = 0x7fc0U;

__attribute__((always_inline)) inline float to_float(float value) { return value; }
__attribute__((always_inline)) inline float to_float(Bf16Bits bits) {
  return __builtin_bit_cast(float, static_cast<std::uint32_t>(bits) << 16);
}

template <typename T>
T from_float(float value);
template <>
__attribute__((always_inline)) inline float from_float<float>(float value) {
  return value;
}
template <>
__attribute__((always_inline)) inline Bf16Bits from_float<Bf16Bits>(float value) {
  const std::uint32_t bits = bits_of(value);
  const std::uint32_t rounded = (bits + 0x7fffU + ((bits >> 16) & 1U)) >> 16;
  return static_cast<Bf16Bits>(is_nan(bits) ? kBf16Nan : rounded);  // NaN stays NaN
}

// How parameters are rounded from their fp32 master: to nearest, ties away from zero. Then 16 more
// bits say exactly which fp32 value it was; with ties to even, both sides of a tie would leave the
// same bits.
__attribute__((always_inline)) inline Bf16Bits high_half(float value) {
  const std::uint32_t bits = bits_of(value);
  return static_cast<Bf16Bits>(is_nan(bits) ? kBf16Nan : (bits + 0x8000U) >> 16);
}
__attribute__((always_inline)) inline std::uint16_t low_half(float value) {
  const std::uint32_t bits = bits_of(value);
  return static_cast<std::uint16_t>(
      is_nan(bits) ? 0 : bits - (static_cast<std::uint32_t>(high_half(value)) << 16));
}
__attribute__((always_inline)) inline float join_halves(Bf16Bits high, std::uint16_t low) {
  const std::int32_t offset = static_cast<std::int16_t>(low);  // in [-0x8000, 0x7fff]
  return __builtin_bit_cast(
      float, (static_cast<std::uint32_t>(high) << 16) + static_cast<std::uint32_t>(offset));
}

// Up with the probability of the distance to the value below: `random` is uniform in [0, 2^16).
__attribute__((always_inline)) inline Bf16Bits round_by_chance(float value, std::uint32_t random) {
  const std::uint32_t bits = bits_of(value);
  return static_cast<Bf16Bits>(is_nan(bits) ? kBf16Nan : (bits + random) >> 16);
}

// 32 random bits of one element: a pure function of key and place (the mixer is lowbias32 of C.
// Wellons' hash search).
__attribute__((always_inline)) inline std::uint32_t mix_bits(std::uint32_t x) {
  x = (x ^ (x >> 16)) * 0x7feb352dU;
  x = (x ^ (x >> 15)) * 0x846ca68bU;
  return x ^ (x >> 16);
}
__attribute__((always_inline)) inline std::uint32_t random_bits(std::uint32_t key,
                                                                std::int64_t place) {
  const auto at = static_cast<std::uint64_t>(place);
  return mix_bits(key ^ static_cast<std::uint32_t>(at) ^
                  (static_cast<std::uint32_t>(at >> 32) * 0x9e3779b9U));
}

}  // namespace muster::sharding
