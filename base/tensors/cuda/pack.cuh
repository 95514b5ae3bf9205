// What element-wise kernels share: several elements per thread and access, and 16-bit types as
// their bits.
#pragma once

#include <cuda_fp16.h>

#include <cstdint>

namespace muster::cuda {

using Bf16Bits =
    std::uint16_t;  // bfloat16 as its bits; sharding/kernels/bfloat16_bits.h needs C++20

constexpr std::uint32_t kInfinityBits = 0x7f800000U;
constexpr int kThreads = 256;
constexpr std::int64_t kMaxBlocks =
    132 * 16;  // 16 per multiprocessor of an H100 or H200; more is strided over

inline int blocks_for(std::int64_t threads) {
  const std::int64_t wanted = (threads + kThreads - 1) / kThreads;
  if (wanted < 1) return 1;
  return static_cast<int>(wanted < kMaxBlocks ? wanted : kMaxBlocks);
}

// What a thread moves at a time: 16 bytes of fp32, 8 of a 16-bit type. Pointers that are not so
// aligned go element by element.
constexpr int kPack = 4;
template <typename T, int N>
struct alignas(sizeof(T) * N) Pack {
  T at[N];
};

template <typename T>
bool pack_aligned(const T* p) {
  return reinterpret_cast<std::uintptr_t>(p) % alignof(Pack<T, kPack>) == 0;
}

template <int N, typename T>
__device__ Pack<T, N> read(const T* p, std::int64_t i) {
  return *reinterpret_cast<const Pack<T, N>*>(p + i);
}
template <int N, typename T>
__device__ void write(T* p, std::int64_t i, const Pack<T, N>& pack) {
  *reinterpret_cast<Pack<T, N>*>(p + i) = pack;
}

// body.template run<N>(i) for elements i .. i + N - 1: packs first, then what is left of n.
template <int N, typename Body>
__device__ void for_packs(std::int64_t n, Body& body) {
  const std::int64_t thread = blockIdx.x * static_cast<std::int64_t>(blockDim.x) + threadIdx.x;
  const std::int64_t threads = static_cast<std::int64_t>(gridDim.x) * blockDim.x, packs = n / N;
  for (std::int64_t i = thread; i < packs; i += threads) body.template run<N>(i * N);
  for (std::int64_t i = packs * N + thread; i < n; i += threads) body.template run<1>(i);
}

__device__ inline float to_float(float value) { return value; }
__device__ inline float to_float(Bf16Bits bits) {
  return __uint_as_float(static_cast<std::uint32_t>(bits) << 16);
}
__device__ inline float to_float(__half value) { return __half2float(value); }

// To nearest, ties to even; NaN stays NaN (sharding/kernels/bfloat16_bits.h).
__device__ inline Bf16Bits round_bf16(float value) {
  const std::uint32_t bits = __float_as_uint(value);
  if ((bits & 0x7fffffffU) > kInfinityBits) return 0x7fc0U;
  return static_cast<Bf16Bits>((bits + 0x7fffU + ((bits >> 16) & 1U)) >> 16);
}
template <typename T>
__device__ T from_float(float value);
template <>
__device__ inline float from_float<float>(float value) {
  return value;
}
template <>
__device__ inline Bf16Bits from_float<Bf16Bits>(float value) {
  return round_bf16(value);
}
template <>
__device__ inline __half from_float<__half>(float value) {
  return __float2half_rn(value);
}

}  // namespace muster::cuda
