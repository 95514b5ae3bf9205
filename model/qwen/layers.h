// The few layers everything is made of: plain structs of tensors that list their parameters by
// name.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

namespace muster::model {

struct NamedParam {
  std::string name;
  at::Tensor tensor;  // a leaf
};
using ParamVisitor = std::function<void(const std::string& name, at::Tensor& tensor)>;

// What norms, rope and losses compute in: fp32, or fp64 where everything is (an exact run, for
// tests).
at::ScalarType wide_dtype(at::ScalarType dtype);

struct Linear {
  at::Tensor weight;  // [out, in]
  at::Tensor bias;    // [out] or undefined
  Linear() = default;
  // Uninitialised fp32 memory on `device` (kMeta: shapes only).
  Linear(std::int64_t in, std::int64_t out, bool with_bias, at::Device device = at::kCPU);
  at::Tensor operator()(const at::Tensor& x) const;  // [..., in] -> [..., out]
  void visit(const std::string& prefix, const ParamVisitor& visitor);
};

// x * rsqrt(mean(x^2) + eps) in fp32, cast to the input's dtype, then times the weight
// (transformers, Qwen2RMSNorm).
struct RmsNorm {
  at::Tensor weight;  // [dim]
  double eps = 1e-6;
  RmsNorm() = default;
  RmsNorm(std::int64_t dim, double eps, at::Device device = at::kCPU);
  at::Tensor operator()(const at::Tensor& x) const;
  void visit(const std::string& prefix, const ParamVisitor& visitor);
};

// nn.LayerNorm over the last dimension, in fp32 inside.
struct LayerNorm {
  at::Tensor weight, bias;  // [dim], ones and zeros to start with
  double eps = 1e-5;
  LayerNorm() = default;
  explicit LayerNorm(std::int64_t dim, double eps = 1e-5, at::Device device = at::kCPU);
  at::Tensor operator()(const at::Tensor& x) const;
  void visit(const std::string& prefix, const ParamVisitor& visitor);
};

// Called before each block with the prefix of its parameters ("model.layers.3."), so that an
// overlapped parameter gather can be awaited there. Empty: nothing to wait for.
using ForwardGate = std::function<void(std::string_view prefix)>;

}  // namespace muster::model
