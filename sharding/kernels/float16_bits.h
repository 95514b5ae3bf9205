// IEEE half precision as its 16 bits, a type of its own beside bfloat16's. Rounds to nearest, ties
// to even.
#pragma once

#include <c10/util/Half.h>

#include "sharding/kernels/bfloat16_bits.h"

namespace muster::sharding {

struct Fp16Bits {
  std::uint16_t bits;
};

inline float to_float(Fp16Bits value) { return c10::detail::fp16_ieee_to_fp32_value(value.bits); }
template <>
inline Fp16Bits from_float<Fp16Bits>(float value) {
  return {c10::detail::fp16_ieee_from_fp32_value(value)};
}

}  // namespace muster::sharding
