#include "model/cuda/fused.cuh"

#include "base/tensors/cuda/pack.cuh"

namespace muster::model::cuda {
namespace {

using namespace muster::cuda;

template <typename T, typename Angle, int N>
__global__ void turn_kernel(Turn t) {
  const std::int64_t packs = t.half / N, all = t.tokens * t.heads * packs;
  const std::int64_t threads = static_cast<std::int64_t>(gridDim.x) * blockDim.x;
  for (std::int64_t i = blockIdx.x * static_cast<std::int64_t>(blockDim.x) + threadIdx.x; i < all;
       i += threads) {
    const std::int64_t row = i / packs, place = i % packs * N, token = row / t.heads,
                       head = row % t.heads;
    const T* const x = static_cast<const T*>(t.x) + token * t.token_stride + head * t.head_stride;
    T* const out = static_cast<T*>(t.out) + row * 2 * t.half;
    const Pack<T, N> x1 = read<N>(x, place), x2 = read<N>(x, t.half + place);
    const Pack<Angle, N> cos = read<N>(static_cast<const Angle*>(t.cos), token * t.half + place);
    const Pack<Angle, N> sin = read<N>(static_cast<const Angle*>(t.sin), token * t.half + place);
    Pack<T, N> out1, out2;
#pragma unroll
    for (int k = 0; k < N; ++k) {
      const float a = to_float(x1.at[k]), b = to_float(x2.at[k]), c = to_float(cos.at[k]),
                  s = t.direction * to_float(sin.at[k]);
      out1.at[k] = from_float<T>(a * c - b * s);
      out2.at[k] = from_float<T>(b * c + a * s);
    }
    write<N>(out, place, out1);
    write<N>(out, t.half + place, out2);
  }
}

template <typename T, typename Angle>
void turn_of(const Turn& t, cudaStream_t stream) {
  const bool packs = pack_aligned(static_cast<const T*>(t.x)) &&
                     pack_aligned(static_cast<T*>(t.out)) &&
                     pack_aligned(static_cast<const Angle*>(t.cos)) &&
                     pack_aligned(static_cast<const Angle*>(t.sin)) && t.half % kPack == 0 &&
                     t.token_stride % kPack == 0 && t.head_stride % kPack == 0;
  const std::int64_t pairs = t.tokens * t.heads * t.half;
  if (packs) {
    turn_kernel<T, Angle, kPack><<<blocks_for(pairs / kPack), kThreads, 0, stream>>>(t);
  } else {
    turn_kernel<T, Angle, 1><<<blocks_for(pairs), kThreads, 0, stream>>>(t);
  }
}

template <typename T>
void turn_as(const Turn& t, cudaStream_t stream) {
  if (t.angle_type == Element::kFloat32) {
    turn_of<T, float>(t, stream);
  } else if (t.angle_type == Element::kBFloat16) {
    turn_of<T, Bf16Bits>(t, stream);
  } else {
    turn_of<T, __half>(t, stream);
  }
}

__device__ float sigmoid(float x) { return 1.0F / (1.0F + __expf(-x)); }

template <typename T>
struct SiluMul {
  const T *a, *b;
  T* out;
  template <int N>
  __device__ void run(std::int64_t i) {
    const Pack<T, N> x = read<N>(a, i), y = read<N>(b, i);
    Pack<T, N> product;
#pragma unroll
    for (int k = 0; k < N; ++k) {
      const float value = to_float(x.at[k]);
      product.at[k] = from_float<T>(value * sigmoid(value) * to_float(y.at[k]));
    }
    write<N>(out, i, product);
  }
};

template <typename T>
struct SiluMulBackward {
  const T *g, *a, *b;
  T *d_a, *d_b;
  template <int N>
  __device__ void run(std::int64_t i) {
    const Pack<T, N> grad = read<N>(g, i), x = read<N>(a, i), y = read<N>(b, i);
    Pack<T, N> first, second;
#pragma unroll
    for (int k = 0; k < N; ++k) {
      const float value = to_float(x.at[k]), up = to_float(grad.at[k]), s = sigmoid(value);
      first.at[k] = from_float<T>(up * to_float(y.at[k]) * s * (1.0F + value * (1.0F - s)));
      second.at[k] = from_float<T>(up * value * s);
    }
    write<N>(d_a, i, first);
    write<N>(d_b, i, second);
  }
};

template <int N, typename Body>
__global__ void body_kernel(Body body, std::int64_t n) {
  for_packs<N>(n, body);
}

template <typename Body>
void launch(const Body& body, bool packs, std::int64_t n, cudaStream_t stream) {
  if (packs) {
    body_kernel<kPack><<<blocks_for(n / kPack), kThreads, 0, stream>>>(body, n);
  } else {
    body_kernel<1><<<blocks_for(n), kThreads, 0, stream>>>(body, n);
  }
}

template <typename T>
void silu_mul_of(const void* a, const void* b, void* out, std::int64_t n, cudaStream_t stream) {
  const SiluMul<T> body{static_cast<const T*>(a), static_cast<const T*>(b), static_cast<T*>(out)};
  launch(body, pack_aligned(body.a) && pack_aligned(body.b) && pack_aligned(body.out), n, stream);
}

template <typename T>
void silu_mul_backward_of(const void* g, const void* a, const void* b, void* d_a, void* d_b,
                          std::int64_t n, cudaStream_t stream) {
  const SiluMulBackward<T> body{static_cast<const T*>(g), static_cast<const T*>(a),
                                static_cast<const T*>(b), static_cast<T*>(d_a),
                                static_cast<T*>(d_b)};
  const bool packs = pack_aligned(body.g) && pack_aligned(body.a) && pack_aligned(body.b) &&
                     pack_aligned(body.d_a) && pack_aligned(body.d_b);
  launch(body, packs, n, stream);
}

}  // namespace

void turn(const Turn& t, cudaStream_t stream) {
  if (t.type == Element::kFloat32) {
    turn_as<float>(t, stream);
  } else if (t.type == Element::kBFloat16) {
    turn_as<Bf16Bits>(t, stream);
  } else {
    turn_as<__half>(t, stream);
  }
}

void silu_mul(const void* a, const void* b, void* out, Element type, std::int64_t n,
              cudaStream_t stream) {
  if (type == Element::kFloat32) {
    silu_mul_of<float>(a, b, out, n, stream);
  } else if (type == Element::kBFloat16) {
    silu_mul_of<Bf16Bits>(a, b, out, n, stream);
  } else {
    silu_mul_of<__half>(a, b, out, n, stream);
  }
}

void silu_mul_backward(const void* g, const void* a, const void* b, void* d_a, void* d_b,
                       Element type, std::int64_t n, cudaStream_t stream) {
  if (type == Element::kFloat32) {
    silu_mul_backward_of<float>(g, a, b, d_a, d_b, n, stream);
  } else if (type == Element::kBFloat16) {
    silu_mul_backward_of<Bf16Bits>(g, a, b, d_a, d_b, n, stream);
  } else {
    silu_mul_backward_of<__half>(g, a, b, d_a, d_b, n, stream);
  }
}

}  // namespace muster::model::cuda
