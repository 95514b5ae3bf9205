// bfloat16 as its 16 bits, in forms a compiler vectorises (builtins: a library call would not be inlined into loops
// that are optimised otherwise than it). Same rounding as c10::BFloat16: to nearest, ties to even.
#pragma once

#include <cstdint>

namespace muster::sharding {

using Bf16Bits = std::uint16_t;

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
  const auto bits = __builtin_bit_cast(std::uint32_t, value);
  const std::uint32_t rounded = (bits + 0x7fffU + ((bits >> 16) & 1U)) >> 16;
  return static_cast<Bf16Bits>((bits & 0x7fffffffU) > 0x7f800000U ? 0x7fc0U : rounded);  // NaN stays NaN
}

}  // namespace muster::sharding
