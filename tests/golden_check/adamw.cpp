#include "golden_check/adamw.h"

#include <ATen/core/grad_mode.h>

#include <algorithm>
#include <cmath>

namespace muster::golden {

AdamW::AdamW(std::vector<std::pair<std::string, at::Tensor>> params, AdamWOptions options)
    : options_(std::move(options)) {
  for (const auto& [name, param] : params) {
    const auto group =
        std::find_if(options_.groups.begin(), options_.groups.end(),
                     [&, n = name](const AdamWGroup& g) { return n.starts_with(g.prefix); });
    TORCH_CHECK(group != options_.groups.end(), "no group takes ", name);
    states_.push_back({param, at::zeros_like(param), at::zeros_like(param), group->lr,
                       param.dim() > 1 ? options_.weight_decay : 0.0});
  }
}

double AdamW::step() {
  const at::NoGradGuard no_graph;
  double squares = 0;
  for (const State& s : states_)
    if (s.param.grad().defined())
      squares += s.param.grad().to(at::kDouble).square().sum().item<double>();
  const double norm = std::sqrt(squares), scale = std::min(1.0, options_.clip_norm / (norm + 1e-6));
  ++steps_;
  const double correction1 = 1 - std::pow(options_.beta1, steps_),
               correction2 = 1 - std::pow(options_.beta2, steps_);
  for (State& s : states_) {
    if (!s.param.grad().defined()) continue;
    const at::Tensor grad = s.param.grad() * scale;
    s.param.mul_(1 - s.lr * s.weight_decay);
    s.exp_avg.mul_(options_.beta1).add_(grad, 1 - options_.beta1);
    s.exp_avg_sq.mul_(options_.beta2).addcmul_(grad, grad, 1 - options_.beta2);
    s.param.addcdiv_(s.exp_avg, (s.exp_avg_sq / correction2).sqrt_().add_(options_.eps),
                     -s.lr / correction1);
    s.param.mutable_grad().reset();
  }
  return norm;
}

}  // namespace muster::golden
