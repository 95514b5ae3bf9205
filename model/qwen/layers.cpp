#include "model/qwen/layers.h"

#include <torch/csrc/autograd/custom_function.h>

namespace muster::model {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

// Keeps x and one number per row for backward, where the composite would keep three tensors of x's
// size.
class RmsNormFunction : public torch::autograd::Function<RmsNormFunction> {
 public:
  static at::Tensor forward(AutogradContext* ctx, const at::Tensor& x, const at::Tensor& weight,
                            double eps) {
    const at::Tensor wide = x.to(wide_dtype(x.scalar_type()));
    const at::Tensor rstd = wide.square().mean(-1, true).add_(eps).rsqrt_();  // [..., 1] f32
    ctx->save_for_backward({x, weight, rstd});
    return normalise(wide, rstd, x.scalar_type()).mul_(weight);
  }

  // y = w * n(x), n = x * rstd: dx = rstd * (g w - n mean(g w n)), dw = sum g n.
  static variable_list backward(AutogradContext* ctx, variable_list grads) {
    const variable_list saved = ctx->get_saved_variables();
    const at::Tensor &x = saved[0], &weight = saved[1], &rstd = saved[2], &grad = grads[0];
    const at::Tensor wide = x.to(wide_dtype(x.scalar_type()));
    at::Tensor d_x, d_weight;
    if (ctx->needs_input_grad(1)) {
      const at::Tensor product =
          grad.to(wide.scalar_type()) * normalise(wide, rstd, x.scalar_type());
      d_weight = product.reshape({-1, weight.size(0)}).sum(0).to(weight.scalar_type());
    }
    if (ctx->needs_input_grad(0)) {
      const at::Tensor scaled = (grad * weight).to(wide.scalar_type());
      const at::Tensor along = (scaled * wide).mean(-1, true).mul_(rstd.square());  // [..., 1]
      d_x = scaled.addcmul_(wide, along, -1).mul_(rstd).to(x.scalar_type());
    }
    return {d_x, d_weight, {}};
  }

 private:
  static at::Tensor normalise(const at::Tensor& wide, const at::Tensor& rstd,
                              at::ScalarType dtype) {
    return (wide * rstd).to(dtype);
  }
};

}  // namespace

at::ScalarType wide_dtype(at::ScalarType dtype) {
  return dtype == at::kDouble ? at::kDouble : at::kFloat;
}

Linear::Linear(std::int64_t in, std::int64_t out, bool with_bias, at::Device device) {
  weight = at::empty({out, in}, at::device(device).dtype(at::kFloat));
  if (with_bias) bias = at::empty({out}, at::device(device).dtype(at::kFloat));
}

at::Tensor Linear::operator()(const at::Tensor& x) const {
  if (lora) return lora_linear(x, weight, bias, *lora);
  return at::linear(x, weight, bias.defined() ? std::optional<at::Tensor>(bias) : std::nullopt);
}

void Linear::visit(const std::string& prefix, const ParamVisitor& visitor) {
  // A patch embedding's weight has the shape of a convolution's; it is no layer for an adapter.
  if (weight.dim() == 2) visitor.layer(prefix.substr(0, prefix.size() - 1), *this);
  visitor(prefix + "weight", weight);
  if (bias.defined()) visitor(prefix + "bias", bias);
  if (lora) {
    lora->visit(prefix, [&](const auto& name, at::Tensor& tensor) { visitor(name, tensor); });
  }
}

RmsNorm::RmsNorm(std::int64_t dim, double epsilon, at::Device device)
    : weight(at::empty({dim}, at::device(device).dtype(at::kFloat))), eps(epsilon) {}

at::Tensor RmsNorm::operator()(const at::Tensor& x) const {
  if (x.is_cuda())
    return at::rms_norm(x, weight.sizes(), weight, eps);  // one kernel, which keeps as little
  return RmsNormFunction::apply(x, weight, eps);
}

void RmsNorm::visit(const std::string& prefix, const ParamVisitor& visitor) {
  visitor(prefix + "weight", weight);
}

LayerNorm::LayerNorm(std::int64_t dim, double epsilon, at::Device device)
    : weight(at::ones({dim}, at::device(device).dtype(at::kFloat))),
      bias(at::zeros_like(weight)),
      eps(epsilon) {}

at::Tensor LayerNorm::operator()(const at::Tensor& x) const {
  return at::layer_norm(x, weight.sizes(), weight, bias, eps);
}

void LayerNorm::visit(const std::string& prefix, const ParamVisitor& visitor) {
  visitor(prefix + "weight", weight);
  visitor(prefix + "bias", bias);
}

}  // namespace muster::model
