// Compiled with -fmad=false: every product and sum is its own rounding, as on the CPU.
#include "sharding/cuda/kernels.cuh"

#include <cuda_fp16.h>

namespace muster::sharding::cuda {
namespace {

constexpr int kThreads = 256;
constexpr std::int64_t kMaxBlocks = 132 * 16;   // 16 per multiprocessor of an H100 or H200; larger inputs are strided over
constexpr int kNormBlock = 16;                  // elements per fp64 block of the norm
constexpr int kLimbs = 19, kLowestExponent = -320;   // ExactSum's
constexpr std::uint32_t kInfinityBits = 0x7f800000U;

int blocks_for(std::int64_t n) {
  const std::int64_t wanted = (n + kThreads - 1) / kThreads;
  return static_cast<int>(wanted < kMaxBlocks ? (wanted > 0 ? wanted : 1) : kMaxBlocks);
}

__device__ float load(const float* p, std::int64_t i) { return p[i]; }
__device__ float load(const Bf16Bits* p, std::int64_t i) { return __uint_as_float(static_cast<std::uint32_t>(p[i]) << 16); }

// To nearest, ties to even; NaN stays NaN (sharding/bfloat16_bits.h).
__device__ Bf16Bits round_bf16(float value) {
  const std::uint32_t bits = __float_as_uint(value);
  if ((bits & 0x7fffffffU) > kInfinityBits) return 0x7fc0U;
  return static_cast<Bf16Bits>((bits + 0x7fffU + ((bits >> 16) & 1U)) >> 16);
}
__device__ float load(const __half* p, std::int64_t i) { return __half2float(p[i]); }
__device__ void store(float* p, std::int64_t i, float value) { p[i] = value; }
__device__ void store(Bf16Bits* p, std::int64_t i, float value) { p[i] = round_bf16(value); }

#define MUSTER_GRID_STRIDE(i, n)                                                                     \
  for (std::int64_t i = blockIdx.x * static_cast<std::int64_t>(blockDim.x) + threadIdx.x; i < (n); \
       i += static_cast<std::int64_t>(gridDim.x) * blockDim.x)

template <typename Gradient, typename Wire>
__global__ void to_wire_kernel(const Gradient* gradient, Wire* wire, std::int64_t n, bool add, std::uint8_t* nonfinite) {
  bool finite = true;
  MUSTER_GRID_STRIDE(i, n) {
    const float value = add ? load(wire, i) + load(gradient, i) : load(gradient, i);
    store(wire, i, value);
    finite &= (__float_as_uint(load(wire, i)) & 0x7fffffffU) < kInfinityBits;
  }
  if (!finite) *nonfinite = 1;   // every writer writes the same value
}

template <typename Wire>
__global__ void accumulate_kernel(const Wire* wire, int ranks, float* acc, std::int64_t n) {
  MUSTER_GRID_STRIDE(i, n) {
    float sum = acc[i];
    for (int r = 0; r < ranks; ++r) sum += load(wire, r * n + i);   // the order of ranks, never another
    acc[i] = sum;
  }
}

__device__ void add_limb(std::int64_t* limb, std::uint64_t value) {
  if (value != 0) atomicAdd(reinterpret_cast<unsigned long long*>(limb), static_cast<unsigned long long>(value));
}

// ExactSum::add with atomics.
__device__ void add_exact(double value, std::int64_t* limbs) {
  const auto bits = static_cast<std::uint64_t>(__double_as_longlong(value));
  if (bits == 0) return;
  const int exponent = static_cast<int>(bits >> 52);
  const std::uint64_t mantissa = (bits & ((1ULL << 52) - 1)) | (exponent != 0 ? 1ULL << 52 : 0);
  const int shift = (exponent != 0 ? exponent : 1) - 1075 - kLowestExponent;
  if (shift < 0) return;
  const int limb = shift / 32, within = shift % 32;
  const std::uint64_t low = mantissa << within;                                    // bits 0..63 of the shifted mantissa
  const std::uint64_t high = within == 0 ? 0 : mantissa >> (64 - within);          // bits 64..
  add_limb(limbs + limb, low & 0xffffffffU);
  add_limb(limbs + limb + 1, low >> 32);
  add_limb(limbs + limb + 2, high);
}

__global__ void add_squares_kernel(const float* values, std::int64_t n, std::int64_t* limbs, std::uint8_t* nonfinite) {
  __shared__ std::int64_t shared[kLimbs];
  if (threadIdx.x < kLimbs) shared[threadIdx.x] = 0;
  __syncthreads();
  MUSTER_GRID_STRIDE(block, (n + kNormBlock - 1) / kNormBlock) {
    double lanes[4] = {0, 0, 0, 0};                                                // the CPU's fixed tree
    for (int i = 0; i < kNormBlock; ++i) {
      const std::int64_t at = block * kNormBlock + i;
      const double value = at < n ? static_cast<double>(values[at]) : 0.0;
      lanes[i % 4] += value * value;
    }
    const double sum = (lanes[0] + lanes[1]) + (lanes[2] + lanes[3]);
    if (isfinite(sum)) add_exact(sum, shared);
    else *nonfinite = 1;
  }
  __syncthreads();
  if (threadIdx.x < kLimbs) add_limb(limbs + threadIdx.x, static_cast<std::uint64_t>(shared[threadIdx.x]));
}

__global__ void normalize_kernel(std::int64_t* limbs) {
  for (int i = 0; i + 1 < kLimbs; ++i) {
    limbs[i + 1] += limbs[i] >> 32;
    limbs[i] &= 0xffffffff;
  }
}

// The functions of sharding/bfloat16_bits.h.
__device__ bool is_nan(std::uint32_t bits) { return (bits & 0x7fffffffU) > kInfinityBits; }
__device__ Bf16Bits high_half(float value) {
  const std::uint32_t bits = __float_as_uint(value);
  return is_nan(bits) ? 0x7fc0U : static_cast<Bf16Bits>((bits + 0x8000U) >> 16);
}
__device__ std::uint16_t low_half(float value) {
  const std::uint32_t bits = __float_as_uint(value);
  return is_nan(bits) ? 0 : static_cast<std::uint16_t>(bits - (static_cast<std::uint32_t>(high_half(value)) << 16));
}
__device__ float join_halves(Bf16Bits high, std::uint16_t low) {
  const std::int32_t offset = static_cast<std::int16_t>(low);
  return __uint_as_float((static_cast<std::uint32_t>(high) << 16) + static_cast<std::uint32_t>(offset));
}
__device__ std::uint32_t random_bits(std::uint32_t key, std::int64_t place) {
  const auto at = static_cast<std::uint64_t>(place);
  std::uint32_t x = key ^ static_cast<std::uint32_t>(at) ^ (static_cast<std::uint32_t>(at >> 32) * 0x9e3779b9U);
  x = (x ^ (x >> 16)) * 0x7feb352dU;
  x = (x ^ (x >> 15)) * 0x846ca68bU;
  return x ^ (x >> 16);
}

__device__ float load_any(const void* p, Element type, std::int64_t i) {
  return type == Element::kFloat32 ? load(static_cast<const float*>(p), i) : load(static_cast<const Bf16Bits*>(p), i);
}
__device__ Bf16Bits to_bf16(float value, const AdamWSpans& s, std::uint32_t random) {
  if (!s.stochastic) return high_half(value);
  const std::uint32_t bits = __float_as_uint(value);
  return is_nan(bits) ? 0x7fc0U : static_cast<Bf16Bits>((bits + (random & 0xffffU)) >> 16);
}
__device__ void store_moment(void* p, const AdamWSpans& s, std::int64_t i, float value, std::uint32_t random) {
  if (s.moment_type == Element::kFloat32) {
    static_cast<float*>(p)[i] = value;
  } else {
    static_cast<Bf16Bits*>(p)[i] = to_bf16(value, s, random);
  }
}

__device__ float load_master(const AdamWSpans& s, std::int64_t i) {
  if (s.master != nullptr) return s.master[i];
  if (s.remainder != nullptr) return join_halves(static_cast<const Bf16Bits*>(s.parameter)[i], s.remainder[i]);
  return load_any(s.parameter, s.parameter_type, i);
}
__device__ void store_parameter(const AdamWSpans& s, std::int64_t i, float value) {
  if (s.master != nullptr) s.master[i] = value;
  if (s.parameter_type == Element::kFloat32) {
    static_cast<float*>(s.parameter)[i] = value;
  } else if (s.parameter_type == Element::kFloat16) {
    static_cast<__half*>(s.parameter)[i] = __float2half_rn(value);
  } else if (s.master == nullptr && s.remainder == nullptr) {
    static_cast<Bf16Bits*>(s.parameter)[i] = to_bf16(value, s, random_bits(~s.key, s.first + i));
  } else {
    static_cast<Bf16Bits*>(s.parameter)[i] = high_half(value);
    if (s.remainder != nullptr) s.remainder[i] = low_half(value);
  }
}

__global__ void adamw_kernel(AdamWSpans s, AdamWFactors k) {
  MUSTER_GRID_STRIDE(i, s.count) {
    const float g = s.gradient[i] * k.scale;
    const float old_m = load_any(s.exp_avg, s.moment_type, i);
    const float m = old_m + k.one_minus_beta1 * (g - old_m);
    const float v = k.beta2 * load_any(s.exp_avg_sq, s.moment_type, i) + k.one_minus_beta2 * g * g;
    const float denominator = __fsqrt_rn(v) / k.sqrt_bias2 + k.eps;
    const float p = load_master(s, i) * k.decay - k.step_size * m / denominator;
    const std::uint32_t random = s.stochastic ? random_bits(s.key, s.first + i) : 0;
    store_moment(s.exp_avg, s, i, m, random);
    store_moment(s.exp_avg_sq, s, i, v, random >> 16);
    store_parameter(s, i, p);
  }
}

template <typename Gradient>
void to_wire_from(const Gradient* gradient, void* wire, Type wire_type, std::int64_t n, bool add, std::uint8_t* nonfinite,
                  cudaStream_t stream) {
  if (wire_type == Type::kFloat32) {
    to_wire_kernel<<<blocks_for(n), kThreads, 0, stream>>>(gradient, static_cast<float*>(wire), n, add, nonfinite);
  } else {
    to_wire_kernel<<<blocks_for(n), kThreads, 0, stream>>>(gradient, static_cast<Bf16Bits*>(wire), n, add, nonfinite);
  }
}

}  // namespace

void to_wire(const void* gradient, Type gradient_type, void* wire, Type wire_type, std::int64_t n, bool add,
             std::uint8_t* nonfinite, cudaStream_t stream) {
  if (gradient_type == Type::kFloat32) {
    to_wire_from(static_cast<const float*>(gradient), wire, wire_type, n, add, nonfinite, stream);
  } else if (gradient_type == Type::kFloat16) {
    to_wire_from(static_cast<const __half*>(gradient), wire, wire_type, n, add, nonfinite, stream);
  } else {
    to_wire_from(static_cast<const Bf16Bits*>(gradient), wire, wire_type, n, add, nonfinite, stream);
  }
}

void accumulate(const void* wire, Type wire_type, int ranks, float* acc, std::int64_t n, cudaStream_t stream) {
  if (wire_type == Type::kFloat32) {
    accumulate_kernel<<<blocks_for(n), kThreads, 0, stream>>>(static_cast<const float*>(wire), ranks, acc, n);
  } else {
    accumulate_kernel<<<blocks_for(n), kThreads, 0, stream>>>(static_cast<const Bf16Bits*>(wire), ranks, acc, n);
  }
}

void add_squares(const float* values, std::int64_t n, std::int64_t* limbs, std::uint8_t* nonfinite, cudaStream_t stream) {
  add_squares_kernel<<<blocks_for((n + kNormBlock - 1) / kNormBlock), kThreads, 0, stream>>>(values, n, limbs, nonfinite);
}

void normalize_limbs(std::int64_t* limbs, cudaStream_t stream) { normalize_kernel<<<1, 1, 0, stream>>>(limbs); }

void adamw(const AdamWSpans& spans, const AdamWFactors& factors, cudaStream_t stream) {
  adamw_kernel<<<blocks_for(spans.count), kThreads, 0, stream>>>(spans, factors);
}

}  // namespace muster::sharding::cuda
