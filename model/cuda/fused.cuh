// Launchers of the towers' element-wise kernels: raw device pointers and a stream, no LibTorch. All
// compute in fp32 and round once.
#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>

namespace muster::model::cuda {

enum class Element { kFloat32, kBFloat16, kFloat16 };

// x [tokens, heads, 2 * half], the last dimension contiguous; out the same, contiguous; cos and sin
// [tokens, half]. out1 = x1 cos - d x2 sin, out2 = x2 cos + d x1 sin, of the halves of each head
// and d = direction.
struct Turn {
  const void* x;
  Element type;  // of x and out
  std::int64_t token_stride, head_stride;
  const void *cos, *sin;
  Element angle_type;
  void* out;
  std::int64_t tokens, heads, half;
  float direction;
};
void turn(const Turn& t, cudaStream_t stream);

// out = silu(a) * b; backward: d_a = g b silu'(a), d_b = g silu(a). n elements each.
void silu_mul(const void* a, const void* b, void* out, Element type, std::int64_t n,
              cudaStream_t stream);
void silu_mul_backward(const void* g, const void* a, const void* b, void* d_a, void* d_b,
                       Element type, std::int64_t n, cudaStream_t stream);

}  // namespace muster::model::cuda
