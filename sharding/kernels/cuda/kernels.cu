// Compiled with -fmad=false: every product and sum is its own rounding, as on the CPU.
#include "sharding/kernels/cuda/kernels.cuh"

#include "base/tensors/cuda/pack.cuh"

namespace muster::sharding::cuda {
namespace {

using namespace muster::cuda;

constexpr int kNormBlock = 16;                      // elements per fp64 block of the norm
constexpr int kLimbs = 19, kLowestExponent = -320;  // ExactSum's

template <typename Gradient, typename Wire>
struct ToWire {
  const Gradient* gradient;
  Wire* wire;
  bool add, finite = true;

  template <int N>
  __device__ void run(std::int64_t i) {
    const Pack<Gradient, N> g = read<N>(gradient, i);
    Pack<Wire, N> w;
    if (add) w = read<N>(wire, i);
#pragma unroll
    for (int k = 0; k < N; ++k) {
      w.at[k] = from_float<Wire>(add ? to_float(w.at[k]) + to_float(g.at[k]) : to_float(g.at[k]));
      finite &= (__float_as_uint(to_float(w.at[k])) & 0x7fffffffU) < kInfinityBits;
    }
    write<N>(wire, i, w);
  }
};

template <int N, typename Gradient, typename Wire>
__global__ void to_wire_kernel(const Gradient* gradient, Wire* wire, std::int64_t n, bool add,
                               std::uint8_t* nonfinite) {
  ToWire<Gradient, Wire> body{gradient, wire, add};
  for_packs<N>(n, body);
  if (!body.finite) *nonfinite = 1;  // every writer writes the same value
}

template <typename Wire>
struct Accumulate {
  const Wire* wire;
  int ranks;
  std::int64_t stride;
  float* acc;
  bool fresh;

  template <int N>
  __device__ void run(std::int64_t i) {
    Pack<float, N> sum = {};
    if (!fresh) sum = read<N>(acc, i);
    for (int r = 0; r < ranks; ++r) {  // the order of ranks, never another
      const Pack<Wire, N> w = read<N>(wire + r * stride, i);
#pragma unroll
      for (int k = 0; k < N; ++k) sum.at[k] += to_float(w.at[k]);
    }
    write<N>(acc, i, sum);
  }
};

template <int N, typename Wire>
__global__ void accumulate_kernel(const Wire* wire, int ranks, std::int64_t stride, float* acc,
                                  std::int64_t n, bool fresh) {
  Accumulate<Wire> body{wire, ranks, stride, acc, fresh};
  for_packs<N>(n, body);
}

// The tree of `Ranks` rows from `wire` on: the first half's + the second's. A zero is +0.
template <int Ranks, int N, typename Wire>
__device__ Pack<float, N> tree_of(const Wire* wire, std::int64_t stride, std::int64_t i) {
  Pack<float, N> sum = {};
  if constexpr (Ranks <= 2) {
#pragma unroll
    for (int r = 0; r < Ranks; ++r) {
      const Pack<Wire, N> w = read<N>(wire + r * stride, i);
#pragma unroll
      for (int k = 0; k < N; ++k) sum.at[k] += to_float(w.at[k]);
    }
  } else {
    sum = tree_of<Ranks / 2, N>(wire, stride, i);
    const Pack<float, N> second = tree_of<Ranks / 2, N>(wire + Ranks / 2 * stride, stride, i);
#pragma unroll
    for (int k = 0; k < N; ++k) sum.at[k] += second.at[k];
  }
  return sum;
}

template <int Ranks, typename Wire>
struct AddTree {
  const Wire* wire;
  std::int64_t stride;
  float* acc;
  bool fresh;

  template <int N>
  __device__ void run(std::int64_t i) {
    Pack<float, N> sum = tree_of<Ranks, N>(wire, stride, i);
    if (!fresh) {
      const Pack<float, N> before = read<N>(acc, i);
#pragma unroll
      for (int k = 0; k < N; ++k) sum.at[k] = before.at[k] + sum.at[k];
    }
    write<N>(acc, i, sum);
  }
};

template <int N, int Ranks, typename Wire>
__global__ void add_tree_kernel(const Wire* wire, std::int64_t stride, float* acc, std::int64_t n,
                                bool fresh) {
  AddTree<Ranks, Wire> body{wire, stride, acc, fresh};
  for_packs<N>(n, body);
}

__device__ void add_limb(std::int64_t* limb, std::uint64_t value) {
  if (value != 0)
    atomicAdd(reinterpret_cast<unsigned long long*>(limb), static_cast<unsigned long long>(value));
}

// ExactSum of one thread: the three limbs its values fall on, in registers. Squares of one
// parameter are of like size, so the limbs change rarely; only then, and at the end, are they added
// to the block's.
struct ThreadSum {
  int limb = -1;
  std::uint64_t part[3] = {0, 0, 0};

  // ExactSum::add.
  __device__ void add(double value, std::int64_t* limbs) {
    const auto bits = static_cast<std::uint64_t>(__double_as_longlong(value));
    if (bits == 0) return;
    const int exponent = static_cast<int>(bits >> 52);
    const std::uint64_t mantissa = (bits & ((1ULL << 52) - 1)) | (exponent != 0 ? 1ULL << 52 : 0);
    const int shift = (exponent != 0 ? exponent : 1) - 1075 - kLowestExponent;
    if (shift < 0) return;
    const int lowest = shift / 32, within = shift % 32;
    if (lowest != limb) {
      flush(limbs);
      limb = lowest;
    }
    const std::uint64_t low = mantissa << within;  // bits 0..63 of the shifted mantissa
    part[0] += low & 0xffffffffU;
    part[1] += low >> 32;
    part[2] += within == 0 ? 0 : mantissa >> (64 - within);  // bits 64..
  }

  __device__ void flush(std::int64_t* limbs) {
    if (limb < 0) return;
#pragma unroll
    for (int i = 0; i < 3; ++i) {
      add_limb(limbs + limb + i, part[i]);
      part[i] = 0;
    }
  }

  // As flush, by all threads of a warp at once: one atomic for all where their limbs are the same.
  __device__ void flush_warp(std::int64_t* limbs) {
    constexpr unsigned kAll = 0xffffffffU;
    int same = 0;
    __match_all_sync(kAll, limb, &same);
    if (same == 0) return flush(limbs);
#pragma unroll
    for (int i = 0; i < 3; ++i) {
      for (int distance = 16; distance > 0; distance /= 2)
        part[i] += __shfl_down_sync(kAll, part[i], distance);
    }
    if (threadIdx.x % 32 == 0) flush(limbs);
  }
};

// The CPU's fixed tree over one block of the norm; `count` elements of it exist, the others are
// zeros.
template <bool kWhole>
__device__ double block_squares(const float* values, std::int64_t count) {
  double lanes[4] = {0, 0, 0, 0};
#pragma unroll
  for (int i = 0; i < kNormBlock; i += 4) {
    Pack<float, 4> x = {{0, 0, 0, 0}};
    if (kWhole) {
      x = read<4>(values, i);
    } else {
      for (int k = 0; k < 4; ++k) x.at[k] = i + k < count ? values[i + k] : 0.0F;
    }
#pragma unroll
    for (int k = 0; k < 4; ++k)
      lanes[k] += static_cast<double>(x.at[k]) * static_cast<double>(x.at[k]);
  }
  return (lanes[0] + lanes[1]) + (lanes[2] + lanes[3]);
}

template <bool kAligned>
__global__ void add_squares_kernel(const float* values, std::int64_t n, std::int64_t* limbs,
                                   std::uint8_t* nonfinite) {
  __shared__ std::int64_t shared[kLimbs];
  if (threadIdx.x < kLimbs) shared[threadIdx.x] = 0;
  __syncthreads();
  ThreadSum sum;
  const std::int64_t threads = static_cast<std::int64_t>(gridDim.x) * blockDim.x;
  for (std::int64_t at =
           (blockIdx.x * static_cast<std::int64_t>(blockDim.x) + threadIdx.x) * kNormBlock;
       at < n; at += threads * kNormBlock) {
    const double squares = kAligned && at + kNormBlock <= n
                               ? block_squares<true>(values + at, kNormBlock)
                               : block_squares<false>(values + at, n - at);
    if (isfinite(squares))
      sum.add(squares, shared);
    else
      *nonfinite = 1;
  }
  sum.flush_warp(shared);
  __syncthreads();
  if (threadIdx.x < kLimbs)
    add_limb(limbs + threadIdx.x, static_cast<std::uint64_t>(shared[threadIdx.x]));
}

// The functions of sharding/kernels/bfloat16_bits.h.
__device__ bool is_nan(std::uint32_t bits) { return (bits & 0x7fffffffU) > kInfinityBits; }
__device__ Bf16Bits high_half(float value) {
  const std::uint32_t bits = __float_as_uint(value);
  return is_nan(bits) ? 0x7fc0U : static_cast<Bf16Bits>((bits + 0x8000U) >> 16);
}
__device__ std::uint16_t low_half(float value) {
  const std::uint32_t bits = __float_as_uint(value);
  return is_nan(bits) ? 0
                      : static_cast<std::uint16_t>(
                            bits - (static_cast<std::uint32_t>(high_half(value)) << 16));
}
__device__ float join_halves(Bf16Bits high, std::uint16_t low) {
  const std::int32_t offset = static_cast<std::int16_t>(low);
  return __uint_as_float((static_cast<std::uint32_t>(high) << 16) +
                         static_cast<std::uint32_t>(offset));
}
__device__ std::uint32_t random_bits(std::uint32_t key, std::int64_t place) {
  const auto at = static_cast<std::uint64_t>(place);
  std::uint32_t x =
      key ^ static_cast<std::uint32_t>(at) ^ (static_cast<std::uint32_t>(at >> 32) * 0x9e3779b9U);
  x = (x ^ (x >> 16)) * 0x7feb352dU;
  x = (x ^ (x >> 15)) * 0x846ca68bU;
  return x ^ (x >> 16);
}

__device__ Bf16Bits to_bf16(float value, bool stochastic, std::uint32_t random) {
  if (!stochastic) return high_half(value);
  const std::uint32_t bits = __float_as_uint(value);
  return is_nan(bits) ? 0x7fc0U : static_cast<Bf16Bits>((bits + (random & 0xffffU)) >> 16);
}

template <typename T>
struct Stored;  // how a moment, or a parameter that is its own master, is rounded
template <>
struct Stored<float> {
  static __device__ float of(float value, bool, std::uint32_t) { return value; }
};
template <>
struct Stored<Bf16Bits> {
  static __device__ Bf16Bits of(float value, bool stochastic, std::uint32_t random) {
    return to_bf16(value, stochastic, random);
  }
};

// Where the fp32 value behind a parameter lies (AdamWSpans).
enum class Master { kOwn, kFloat32, kSplit };

template <typename Parameter>
__device__ Parameter rounded_out(float value);
template <>
__device__ float rounded_out<float>(float value) {
  return value;
}
template <>
__device__ Bf16Bits rounded_out<Bf16Bits>(float value) {
  return high_half(value);
}
template <>
__device__ __half rounded_out<__half>(float value) {
  return __float2half_rn(value);
}

template <typename Parameter, Master kMaster, typename Moment>
struct AdamW {
  AdamWSpans s;
  AdamWFactors k;

  template <int N>
  __device__ void run(std::int64_t i) {
    auto* const parameter = static_cast<Parameter*>(s.parameter);
    auto *const exp_avg = static_cast<Moment*>(s.exp_avg), *const exp_avg_sq =
                                                               static_cast<Moment*>(s.exp_avg_sq);
    const Pack<float, N> gradient = read<N>(s.gradient, i);
    Pack<Moment, N> first = read<N>(exp_avg, i), second = read<N>(exp_avg_sq, i);
    Pack<Parameter, N> out;
    Pack<float, N> master;
    Pack<std::uint16_t, N> low;
    if (kMaster == Master::kFloat32)
      master = read<N>(s.master, i);
    else
      out = read<N>(parameter, i);
    if (kMaster == Master::kSplit) low = read<N>(s.remainder, i);
    Pack<float, N> ema;
    if (s.ema != nullptr) ema = read<N>(s.ema, i);
#pragma unroll
    for (int e = 0; e < N; ++e) {
      const float g = gradient.at[e] * k.scale;
      const float old_m = to_float(first.at[e]);
      const float m = old_m + k.one_minus_beta1 * (g - old_m);
      const float v = k.beta2 * to_float(second.at[e]) + k.one_minus_beta2 * g * g;
      const float denominator = __fsqrt_rn(v) / k.sqrt_bias2 + k.eps;
      const float p = before(master, out, low, e) * k.decay - k.step_size * m / denominator;
      if (s.ema != nullptr) ema.at[e] = ema.at[e] + k.one_minus_ema * (p - ema.at[e]);
      const std::uint32_t random = s.stochastic ? random_bits(s.key, s.first + i + e) : 0;
      first.at[e] = Stored<Moment>::of(m, s.stochastic, random);
      second.at[e] = Stored<Moment>::of(v, s.stochastic, random >> 16);
      after(master, out, low, e, p, i + e);
    }
    write<N>(exp_avg, i, first);
    write<N>(exp_avg_sq, i, second);
    write<N>(parameter, i, out);
    if (kMaster == Master::kFloat32) write<N>(s.master, i, master);
    if (kMaster == Master::kSplit) write<N>(s.remainder, i, low);
    if (s.ema != nullptr) write<N>(s.ema, i, ema);
  }

 private:
  template <int N>
  static __device__ float before(const Pack<float, N>& master, const Pack<Parameter, N>& out,
                                 const Pack<std::uint16_t, N>& low, int e) {
    if constexpr (kMaster == Master::kFloat32)
      return master.at[e];
    else if constexpr (kMaster == Master::kSplit)
      return join_halves(out.at[e], low.at[e]);
    else
      return to_float(out.at[e]);
  }
  template <int N>
  __device__ void after(Pack<float, N>& master, Pack<Parameter, N>& out,
                        Pack<std::uint16_t, N>& low, int e, float p, std::int64_t place) const {
    if constexpr (kMaster == Master::kFloat32) master.at[e] = p;
    if constexpr (kMaster == Master::kSplit) low.at[e] = low_half(p);
    if constexpr (kMaster == Master::kOwn) {
      out.at[e] = Stored<Parameter>::of(p, s.stochastic,
                                        s.stochastic ? random_bits(~s.key, s.first + place) : 0);
    } else {
      out.at[e] = rounded_out<Parameter>(p);
    }
  }
};

template <int N, typename Body>
__global__ void adamw_kernel(Body body) {
  for_packs<N>(body.s.count, body);
}

template <typename Parameter, Master kMaster, typename Moment>
void adamw_as(const AdamWSpans& s, const AdamWFactors& k, cudaStream_t stream) {
  const AdamW<Parameter, kMaster, Moment> body{s, k};
  const bool packs = pack_aligned(s.gradient) &&
                     pack_aligned(static_cast<Parameter*>(s.parameter)) && pack_aligned(s.master) &&
                     pack_aligned(s.remainder) && pack_aligned(s.ema) &&
                     pack_aligned(static_cast<Moment*>(s.exp_avg)) &&
                     pack_aligned(static_cast<Moment*>(s.exp_avg_sq));
  const int blocks = blocks_for(packs ? s.count / kPack : s.count);
  if (packs)
    adamw_kernel<kPack><<<blocks, kThreads, 0, stream>>>(body);
  else
    adamw_kernel<1><<<blocks, kThreads, 0, stream>>>(body);
}

template <typename Parameter, Master kMaster>
void adamw_of(const AdamWSpans& s, const AdamWFactors& k, cudaStream_t stream) {
  if (s.moment_type == Element::kFloat32)
    adamw_as<Parameter, kMaster, float>(s, k, stream);
  else
    adamw_as<Parameter, kMaster, Bf16Bits>(s, k, stream);
}

template <typename Gradient, typename Wire>
void to_wire_as(const Gradient* gradient, Wire* wire, std::int64_t n, bool add,
                std::uint8_t* nonfinite, cudaStream_t stream) {
  if (pack_aligned(gradient) && pack_aligned(wire)) {
    to_wire_kernel<kPack>
        <<<blocks_for(n / kPack), kThreads, 0, stream>>>(gradient, wire, n, add, nonfinite);
  } else {
    to_wire_kernel<1><<<blocks_for(n), kThreads, 0, stream>>>(gradient, wire, n, add, nonfinite);
  }
}

template <typename Gradient>
void to_wire_from(const Gradient* gradient, void* wire, Type wire_type, std::int64_t n, bool add,
                  std::uint8_t* nonfinite, cudaStream_t stream) {
  if (wire_type == Type::kFloat32)
    to_wire_as(gradient, static_cast<float*>(wire), n, add, nonfinite, stream);
  else
    to_wire_as(gradient, static_cast<Bf16Bits*>(wire), n, add, nonfinite, stream);
}

template <typename Wire>
void accumulate_as(const Wire* wire, int ranks, std::int64_t stride, float* acc, std::int64_t n,
                   bool fresh, cudaStream_t stream) {
  if (pack_aligned(wire) && pack_aligned(acc) && (ranks == 1 || stride % kPack == 0)) {
    accumulate_kernel<kPack>
        <<<blocks_for(n / kPack), kThreads, 0, stream>>>(wire, ranks, stride, acc, n, fresh);
  } else {
    accumulate_kernel<1>
        <<<blocks_for(n), kThreads, 0, stream>>>(wire, ranks, stride, acc, n, fresh);
  }
}

template <int Ranks, typename Wire>
void add_tree_of(const Wire* wire, std::int64_t stride, float* acc, std::int64_t n, bool fresh,
                 cudaStream_t stream) {
  if (pack_aligned(wire) && pack_aligned(acc) && (Ranks == 1 || stride % kPack == 0)) {
    add_tree_kernel<kPack, Ranks>
        <<<blocks_for(n / kPack), kThreads, 0, stream>>>(wire, stride, acc, n, fresh);
  } else {
    add_tree_kernel<1, Ranks><<<blocks_for(n), kThreads, 0, stream>>>(wire, stride, acc, n, fresh);
  }
}

template <typename Wire>
void add_tree_as(const Wire* wire, int ranks, std::int64_t stride, float* acc, std::int64_t n,
                 bool fresh, cudaStream_t stream) {
  switch (ranks) {
    case 1: return add_tree_of<1>(wire, stride, acc, n, fresh, stream);
    case 2: return add_tree_of<2>(wire, stride, acc, n, fresh, stream);
    case 4: return add_tree_of<4>(wire, stride, acc, n, fresh, stream);
    case 8: return add_tree_of<8>(wire, stride, acc, n, fresh, stream);
    case 16: return add_tree_of<16>(wire, stride, acc, n, fresh, stream);
    default: return add_tree_of<32>(wire, stride, acc, n, fresh, stream);
  }
}

}  // namespace

void to_wire(const void* gradient, Type gradient_type, void* wire, Type wire_type, std::int64_t n,
             bool add, std::uint8_t* nonfinite, cudaStream_t stream) {
  if (gradient_type == Type::kFloat32) {
    to_wire_from(static_cast<const float*>(gradient), wire, wire_type, n, add, nonfinite, stream);
  } else if (gradient_type == Type::kFloat16) {
    to_wire_from(static_cast<const __half*>(gradient), wire, wire_type, n, add, nonfinite, stream);
  } else {
    to_wire_from(static_cast<const Bf16Bits*>(gradient), wire, wire_type, n, add, nonfinite,
                 stream);
  }
}

void accumulate(const void* wire, Type wire_type, int ranks, std::int64_t stride, float* acc,
                std::int64_t n, bool fresh, cudaStream_t stream) {
  if (wire_type == Type::kFloat32)
    accumulate_as(static_cast<const float*>(wire), ranks, stride, acc, n, fresh, stream);
  else
    accumulate_as(static_cast<const Bf16Bits*>(wire), ranks, stride, acc, n, fresh, stream);
}

void add_tree(const void* wire, Type wire_type, int ranks, std::int64_t stride, float* acc,
              std::int64_t n, bool fresh, cudaStream_t stream) {
  if (wire_type == Type::kFloat32)
    add_tree_as(static_cast<const float*>(wire), ranks, stride, acc, n, fresh, stream);
  else
    add_tree_as(static_cast<const Bf16Bits*>(wire), ranks, stride, acc, n, fresh, stream);
}

void add_squares(const float* values, std::int64_t n, std::int64_t* limbs, std::uint8_t* nonfinite,
                 cudaStream_t stream) {
  const int blocks = blocks_for((n + kNormBlock - 1) / kNormBlock);
  if (pack_aligned(values))
    add_squares_kernel<true><<<blocks, kThreads, 0, stream>>>(values, n, limbs, nonfinite);
  else
    add_squares_kernel<false><<<blocks, kThreads, 0, stream>>>(values, n, limbs, nonfinite);
}

void adamw(const AdamWSpans& spans, const AdamWFactors& factors, cudaStream_t stream) {
  if (spans.parameter_type == Element::kFloat32)
    adamw_of<float, Master::kOwn>(spans, factors, stream);
  else if (spans.parameter_type == Element::kFloat16)
    adamw_of<__half, Master::kFloat32>(spans, factors, stream);
  else if (spans.master != nullptr)
    adamw_of<Bf16Bits, Master::kFloat32>(spans, factors, stream);
  else if (spans.remainder != nullptr)
    adamw_of<Bf16Bits, Master::kSplit>(spans, factors, stream);
  else
    adamw_of<Bf16Bits, Master::kOwn>(spans, factors, stream);
}

}  // namespace muster::sharding::cuda
