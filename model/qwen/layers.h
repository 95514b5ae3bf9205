// The few layers everything is made of: plain structs of tensors that list their parameters by
// name.
#pragma once

#include <ATen/core/Tensor.h>

#include <concepts>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "model/qwen/lora.h"

namespace muster::model {

struct NamedParam {
  std::string name;
  at::Tensor tensor;  // a leaf
};

struct Linear;

// What visit() calls: a function of every parameter, or, made by layers(), of every Linear layer
// that an adapter may stand beside. Names of layers end without a dot.
class ParamVisitor {
 public:
  using Tensors = std::function<void(const std::string& name, at::Tensor& tensor)>;
  using Layers = std::function<void(const std::string& name, Linear& layer)>;

  template <std::invocable<const std::string&, at::Tensor&> Function>
  ParamVisitor(Function function) : tensors_(std::move(function)) {}
  static ParamVisitor layers(Layers function) {
    ParamVisitor visitor([](const std::string&, at::Tensor&) {});
    visitor.layers_ = std::move(function);
    return visitor;
  }

  void operator()(const std::string& name, at::Tensor& tensor) const { tensors_(name, tensor); }
  void layer(const std::string& name, Linear& layer) const {
    if (layers_) layers_(name, layer);
  }

 private:
  Tensors tensors_;
  Layers layers_;
};

// What norms, rope and losses compute in: fp32, or fp64 where everything is (an exact run, for
// tests).
at::ScalarType wide_dtype(at::ScalarType dtype);

struct Linear {
  at::Tensor weight;  // [out, in]
  at::Tensor bias;    // [out] or undefined
  std::optional<Lora> lora;
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
