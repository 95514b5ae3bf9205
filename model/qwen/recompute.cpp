#include "model/qwen/recompute.h"

#include <ATen/Context.h>
#include <ATen/core/grad_mode.h>
#include <torch/csrc/autograd/autograd.h>
#include <torch/csrc/autograd/custom_function.h>

#include <algorithm>

namespace muster::model {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

// Holds the state of the generators that a block on `device` draws from: the CPU's and the
// device's.
class RandomState {
 public:
  explicit RandomState(at::Device device) : device_(device), cpu_(state(at::kCPU)) {
    if (!device.is_cpu()) own_ = state(device);
  }
  void restore() const {
    generator(at::kCPU).set_state(cpu_);
    if (own_.defined()) generator(device_).set_state(own_);
  }

 private:
  static at::Generator generator(at::Device device) {
    return at::globalContext().defaultGenerator(device);
  }
  static at::Tensor state(at::Device device) { return generator(device).get_state(); }
  at::Device device_;
  at::Tensor cpu_, own_;
};

struct Held : torch::CustomClassHolder {
  Held(BlockFunction function, std::vector<at::Tensor> parameters, at::Device device)
      : f(std::move(function)), params(std::move(parameters)), random(device) {}
  BlockFunction f;
  std::vector<at::Tensor> params;
  RandomState random;  // before the first run
};

at::Tensor stand_in(const at::Tensor& tensor) {
  return tensor.detach().requires_grad_(tensor.requires_grad());
}

class RecomputeFunction : public torch::autograd::Function<RecomputeFunction> {
 public:
  static at::Tensor forward(
      AutogradContext* ctx, const c10::intrusive_ptr<Held>& held, const at::Tensor& x,
      at::TensorList) {  // the parameters: listed, so that autograd connects them
    ctx->saved_data["held"] = c10::IValue::make_capsule(held);
    ctx->save_for_backward({x});
    return held->f(x, held->params);
  }

  static variable_list backward(AutogradContext* ctx, variable_list grads) {
    const auto held = c10::static_intrusive_pointer_cast<Held>(ctx->saved_data["held"].toCapsule());
    const at::AutoGradMode with_graph(true);
    variable_list inputs{stand_in(ctx->get_saved_variables()[0])};
    std::transform(held->params.begin(), held->params.end(), std::back_inserter(inputs), stand_in);
    const RandomState now(inputs[0].device());
    held->random.restore();
    const at::Tensor out = held->f(inputs[0], {inputs.begin() + 1, inputs.end()});
    now.restore();
    variable_list wanted;
    for (const at::Tensor& input : inputs)
      if (input.requires_grad()) wanted.push_back(input);
    const variable_list found =
        torch::autograd::grad({out}, wanted, {grads[0]}, false, false, /*allow_unused=*/true);
    variable_list result{{}};  // the first argument is not a tensor
    std::size_t next = 0;
    for (const at::Tensor& input : inputs)
      result.push_back(input.requires_grad() ? found[next++] : at::Tensor());
    return result;
  }
};

}  // namespace

at::Tensor recompute(const BlockFunction& f, const at::Tensor& x,
                     const std::vector<at::Tensor>& params) {
  const bool needs_graph =
      x.requires_grad() || std::any_of(params.begin(), params.end(),
                                       [](const at::Tensor& p) { return p.requires_grad(); });
  if (!needs_graph || !at::GradMode::is_enabled()) return f(x, params);
  return RecomputeFunction::apply(c10::make_intrusive<Held>(f, params, x.device()), x,
                                  at::TensorList(params));
}

}  // namespace muster::model
