// Element-wise parts of the towers that are one kernel on a GPU, where libmuster_cuda.so offers
// them as operators of LibTorch's dispatcher, and ATen's elsewhere.
#pragma once

#include <ATen/core/Tensor.h>

namespace muster::model {

// fp32, bf16 and fp16 on a GPU.
bool fused_fits(const at::Tensor& x);

// What rotate() does to x [tokens, heads, dim], without a graph: out1 = x1 cos - d x2 sin, out2 =
// x2 cos + d x1 sin. REQUIRES fused_fits(x); cos and sin [tokens, 1, dim / 2] may be of a wider
// type.
at::Tensor fused_turn(const at::Tensor& x, const at::Tensor& cos, const at::Tensor& sin,
                      double direction);

// silu(a) * b, with a graph that keeps a and b alone.
at::Tensor silu_mul(const at::Tensor& a, const at::Tensor& b);

}  // namespace muster::model
