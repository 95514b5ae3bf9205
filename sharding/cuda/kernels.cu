// Compiled with -fmad=false: every product and sum is its own rounding, as on the CPU.
#include "sharding/cuda/kernels.cuh"

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

__global__ void adamw_kernel(AdamWSpans s, Bf16Bits* parameter, AdamWFactors k) {
  MUSTER_GRID_STRIDE(i, s.count) {
    const float g = s.gradient[i] * k.scale;
    const float m = s.exp_avg[i] + k.one_minus_beta1 * (g - s.exp_avg[i]);
    const float v = k.beta2 * s.exp_avg_sq[i] + k.one_minus_beta2 * g * g;
    const float denominator = __fsqrt_rn(v) / k.sqrt_bias2 + k.eps;
    const float p = s.master[i] * k.decay - k.step_size * m / denominator;
    s.exp_avg[i] = m;
    s.exp_avg_sq[i] = v;
    s.master[i] = p;
    if (parameter != nullptr) parameter[i] = round_bf16(p);
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

void adamw(const AdamWSpans& spans, Bf16Bits* parameter, const AdamWFactors& factors, cudaStream_t stream) {
  adamw_kernel<<<blocks_for(spans.count), kThreads, 0, stream>>>(spans, parameter, factors);
}

}  // namespace muster::sharding::cuda
