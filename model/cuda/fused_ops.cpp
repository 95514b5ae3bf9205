// The operators that model/qwen/fused.cpp looks up in LibTorch's dispatcher, so that the model's
// room needs no CUDA.
#include <ATen/ATen.h>
#include <c10/cuda/CUDAException.h>
#include <c10/cuda/CUDAGuard.h>
#include <c10/cuda/CUDAStream.h>
#include <torch/library.h>

#include "model/cuda/fused.cuh"

namespace muster::model::cuda {
namespace {

Element type_of(const at::Tensor& t) {
  if (t.scalar_type() == at::kFloat) return Element::kFloat32;
  TORCH_CHECK(t.scalar_type() == at::kBFloat16 || t.scalar_type() == at::kHalf,
              "muster: no kernel for ", t.scalar_type());
  return t.scalar_type() == at::kHalf ? Element::kFloat16 : Element::kBFloat16;
}

at::Tensor turn_op(const at::Tensor& x, const at::Tensor& cos, const at::Tensor& sin,
                   double direction) {
  const c10::cuda::CUDAGuard guard(x.device());
  const at::Tensor in = x.stride(2) == 1 ? x : x.contiguous(), c = cos.contiguous(),
                   s = sin.contiguous();
  at::Tensor out = at::empty(x.sizes(), x.options());
  if (out.numel() == 0) return out;
  turn({.x = in.const_data_ptr(),
        .type = type_of(x),
        .token_stride = in.stride(0),
        .head_stride = in.stride(1),
        .cos = c.const_data_ptr(),
        .sin = s.const_data_ptr(),
        .angle_type = type_of(c),
        .out = out.mutable_data_ptr(),
        .tokens = x.size(0),
        .heads = x.size(1),
        .half = x.size(2) / 2,
        .direction = static_cast<float>(direction)},
       c10::cuda::getCurrentCUDAStream());
  C10_CUDA_KERNEL_LAUNCH_CHECK();
  return out;
}

at::Tensor silu_mul_op(const at::Tensor& a, const at::Tensor& b) {
  const c10::cuda::CUDAGuard guard(a.device());
  const at::Tensor x = a.contiguous(), y = b.contiguous();
  at::Tensor out = at::empty_like(x);
  silu_mul(x.const_data_ptr(), y.const_data_ptr(), out.mutable_data_ptr(), type_of(x), x.numel(),
           c10::cuda::getCurrentCUDAStream());
  C10_CUDA_KERNEL_LAUNCH_CHECK();
  return out;
}

std::tuple<at::Tensor, at::Tensor> silu_mul_backward_op(const at::Tensor& grad, const at::Tensor& a,
                                                        const at::Tensor& b) {
  const c10::cuda::CUDAGuard guard(a.device());
  const at::Tensor g = grad.contiguous(), x = a.contiguous(), y = b.contiguous();
  at::Tensor d_a = at::empty_like(x), d_b = at::empty_like(y);
  silu_mul_backward(g.const_data_ptr(), x.const_data_ptr(), y.const_data_ptr(),
                    d_a.mutable_data_ptr(), d_b.mutable_data_ptr(), type_of(x), x.numel(),
                    c10::cuda::getCurrentCUDAStream());
  C10_CUDA_KERNEL_LAUNCH_CHECK();
  return {d_a, d_b};
}

}  // namespace

TORCH_LIBRARY(muster, library) {
  library.def("turn(Tensor x, Tensor cos, Tensor sin, float direction) -> Tensor");
  library.def("silu_mul(Tensor a, Tensor b) -> Tensor");
  library.def("silu_mul_backward(Tensor grad, Tensor a, Tensor b) -> (Tensor, Tensor)");
}

TORCH_LIBRARY_IMPL(muster, CUDA, library) {
  library.impl("turn", turn_op);
  library.impl("silu_mul", silu_mul_op);
  library.impl("silu_mul_backward", silu_mul_backward_op);
}

}  // namespace muster::model::cuda
