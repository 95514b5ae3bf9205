#include "model/qwen/fused.h"

#include <ATen/core/dispatch/Dispatcher.h>
#include <torch/csrc/autograd/custom_function.h>

namespace muster::model {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

template <typename Signature>
c10::TypedOperatorHandle<Signature> find(const char* name) {
  return c10::Dispatcher::singleton().findSchemaOrThrow(name, "").typed<Signature>();
}

class SiluMulFunction : public torch::autograd::Function<SiluMulFunction> {
 public:
  static at::Tensor forward(AutogradContext* ctx, const at::Tensor& a, const at::Tensor& b) {
    static const auto op =
        find<at::Tensor(const at::Tensor&, const at::Tensor&)>("muster::silu_mul");
    ctx->save_for_backward({a, b});
    return op.call(a, b);
  }
  static variable_list backward(AutogradContext* ctx, variable_list grads) {
    static const auto op = find<std::tuple<at::Tensor, at::Tensor>(
        const at::Tensor&, const at::Tensor&, const at::Tensor&)>("muster::silu_mul_backward");
    const variable_list saved = ctx->get_saved_variables();
    auto [d_a, d_b] = op.call(grads[0], saved[0], saved[1]);
    return {d_a, d_b};
  }
};

}  // namespace

bool fused_fits(const at::Tensor& x) { return x.is_cuda() && x.scalar_type() != at::kDouble; }

at::Tensor fused_turn(const at::Tensor& x, const at::Tensor& cos, const at::Tensor& sin,
                      double direction) {
  static const auto op =
      find<at::Tensor(const at::Tensor&, const at::Tensor&, const at::Tensor&, double)>(
          "muster::turn");
  return op.call(x, cos, sin, direction);
}

at::Tensor silu_mul(const at::Tensor& a, const at::Tensor& b) {
  return fused_fits(a) ? SiluMulFunction::apply(a, b) : at::silu(a) * b;
}

}  // namespace muster::model
