#include "model/qwen/lora.h"

#include <ATen/core/grad_mode.h>
#include <torch/csrc/autograd/custom_function.h>

#include "base/rng.h"
#include "model/qwen/lora_dropout.h"

namespace muster::model {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

constexpr std::string_view kA = "lora_A.weight", kB = "lora_B.weight",
                           kMagnitude = "lora_magnitude_vector";

// What one call drops: nothing when p is 0.
struct Drop {
  double p = 0;
  std::uint64_t key = 0;
};

Drop drop_of(const Lora& lora) {
  if (lora.dropout == 0 || !lora.drop_seed) return {};
  return {lora.dropout, seed_of(*lora.drop_seed, lora.stream)};
}

at::Tensor dropped(const at::Tensor& x, const Drop& drop) {
  return drop.p == 0 ? x : x * keep_factors(x, drop.p, drop.key);
}

std::optional<at::Tensor> optional_of(const at::Tensor& tensor) {
  return tensor.defined() ? std::optional(tensor) : std::nullopt;
}

// The products with a frozen weight: x [n, in] -> [n, out]. The adapter's part is added where the
// product with W lies.
class LoraFunction : public torch::autograd::Function<LoraFunction> {
 public:
  static at::Tensor forward(AutogradContext* ctx, const at::Tensor& x, const at::Tensor& weight,
                            const at::Tensor& a, const at::Tensor& b,
                            const std::optional<at::Tensor>& bias, double scale, Drop drop) {
    const at::Tensor low = at::mm(dropped(x, drop), a.t());  // [n, rank]
    at::Tensor y = at::linear(x, weight, bias);
    y.addmm_(low, b.t(), 1, scale);
    ctx->save_for_backward({x, weight, a, b, low});
    ctx->saved_data["scale"] = scale;
    ctx->saved_data["p"] = drop.p;
    ctx->saved_data["key"] = static_cast<std::int64_t>(drop.key);
    return y;
  }

  static variable_list backward(AutogradContext* ctx, variable_list grads) {
    const variable_list saved = ctx->get_saved_variables();
    const at::Tensor &x = saved[0], &weight = saved[1], &a = saved[2], &b = saved[3],
                     &low = saved[4], &grad = grads[0];
    const double scale = ctx->saved_data["scale"].toDouble();
    const Drop drop{ctx->saved_data["p"].toDouble(),
                    static_cast<std::uint64_t>(ctx->saved_data["key"].toInt())};
    const at::Tensor kept = drop.p == 0 ? at::Tensor() : keep_factors(x, drop.p, drop.key);
    const at::Tensor d_low = at::mm(grad, b).mul_(scale);  // [n, rank]
    at::Tensor d_x, d_a, d_b;
    if (ctx->needs_input_grad(2)) d_a = at::mm(d_low.t(), kept.defined() ? x * kept : x);
    if (ctx->needs_input_grad(3)) d_b = at::mm(grad.t(), low).mul_(scale);
    if (ctx->needs_input_grad(0)) {
      d_x = at::mm(grad, weight);
      if (kept.defined())
        d_x.addcmul_(kept, at::mm(d_low, a));
      else
        d_x.addmm_(d_low, a);
    }
    return {d_x, {}, d_a, d_b, {}, {}, {}};
  }
};

bool wants_gradient(const at::Tensor& tensor) { return tensor.defined() && tensor.requires_grad(); }

// x W^T + bias + scale dropout(x) A^T B^T, x [n, in].
at::Tensor product(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias,
                   const Lora& lora, const Drop& drop) {
  if (!wants_gradient(weight) && !wants_gradient(bias))
    return LoraFunction::apply(x, weight, lora.a, lora.b, optional_of(bias), lora.scale, drop);
  // A weight that trains beside its adapter: no run has one, tests of gradients do.
  const at::Tensor low = at::linear(dropped(x, drop), lora.a);
  return at::linear(x, weight, optional_of(bias)) + lora.scale * at::linear(low, lora.b);
}

at::Tensor dora_product(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias,
                        const Lora& lora, const Drop& drop) {
  const at::Tensor factor = lora.magnitude / adapted_norms(weight, lora);  // [out]
  if (drop.p == 0) {
    const at::Tensor y = product(x, weight, {}, lora, drop);
    return bias.defined() ? at::addcmul(bias, y, factor) : y * factor;
  }
  // W(x) + (factor - 1) W(d) + factor scale B(A(d)) with d = dropout(x)
  const at::Tensor d = dropped(x, drop);
  const at::Tensor through_weight = at::linear(d, weight);
  const at::Tensor through_adapter = at::linear(at::linear(d, lora.a), lora.b);
  return at::linear(x, weight, optional_of(bias)) + (factor - 1) * through_weight +
         factor * through_adapter * lora.scale;
}

}  // namespace

Lora::Lora(const LoraOptions& options, std::string_view layer, std::int64_t in, std::int64_t out)
    : a(at::empty({options.rank, in}, at::device(at::kMeta).dtype(at::kFloat))),
      b(at::empty({out, options.rank}, a.options())),
      scale(options.scale),
      dropout(options.dropout),
      stream(hash_name(layer)) {
  if (options.dora) magnitude = at::empty({out}, a.options());
}

void Lora::visit(const std::string& prefix,
                 const std::function<void(const std::string&, at::Tensor&)>& visitor) {
  visitor(prefix + std::string(kA), a);
  visitor(prefix + std::string(kB), b);
  if (magnitude.defined()) visitor(prefix + std::string(kMagnitude), magnitude);
}

bool is_lora_a(std::string_view parameter) { return parameter.ends_with(kA); }
bool is_lora_b(std::string_view parameter) { return parameter.ends_with(kB); }

bool is_adapter(std::string_view parameter) {
  return is_lora_a(parameter) || is_lora_b(parameter) || parameter.ends_with(kMagnitude);
}

at::Tensor lora_linear(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias,
                       const Lora& lora) {
  const at::Tensor rows = x.dim() == 2 ? x : x.reshape({-1, x.size(-1)});
  const Drop drop = drop_of(lora);
  at::Tensor y = lora.magnitude.defined() ? dora_product(rows, weight, bias, lora, drop)
                                          : product(rows, weight, bias, lora, drop);
  if (x.dim() == 2) return y;
  std::vector<std::int64_t> sizes = x.sizes().vec();
  sizes.back() = weight.size(0);
  return y.view(sizes);
}

at::Tensor adapted_norms(const at::Tensor& weight, const Lora& lora) {
  const at::NoGradGuard no_graph;
  const at::Tensor sum = at::addmm(weight, lora.b, lora.a, 1, lora.scale);
  return at::linalg_vector_norm(sum, 2, 1);
}

at::Tensor merged_weight(const at::Tensor& weight, const Lora& lora) {
  const at::NoGradGuard no_graph;
  const at::ScalarType wide = weight.scalar_type() == at::kDouble ? at::kDouble : at::kFloat;
  const at::Tensor base = weight.to(wide);
  const at::Tensor delta = at::matmul(lora.b.to(wide), lora.a.to(wide)) * lora.scale;
  at::Tensor sum = base + delta;
  if (lora.magnitude.defined()) {
    const at::Tensor factor = lora.magnitude.to(wide) / at::linalg_vector_norm(sum, 2, 1);
    sum = factor.view({-1, 1}) * sum;
  }
  return sum.to(weight.scalar_type());
}

}  // namespace muster::model
