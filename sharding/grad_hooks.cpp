#include "sharding/grad_hooks.h"

#include <torch/csrc/autograd/function.h>
#include <torch/csrc/autograd/function_hook.h>
#include <torch/csrc/autograd/variable.h>

namespace muster::sharding {
namespace {

struct Hook final : torch::autograd::FunctionPostHook {
  Hook(int index_in, std::function<void(int)> call_in)
      : index(index_in), call(std::move(call_in)) {}
  torch::autograd::variable_list operator()(const torch::autograd::variable_list& outputs,
                                            const torch::autograd::variable_list&) override {
    call(index);
    return outputs;
  }
  int index;
  std::function<void(int)> call;
};

}  // namespace

// The leaf holds its accumulator weakly, so it is kept alive here.
struct GradHooks::Installed {
  std::shared_ptr<torch::autograd::Node> accumulator;
  std::uintptr_t key;
};

GradHooks::GradHooks(const std::vector<at::Tensor>& leaves,
                     const std::function<void(int)>& on_gradient) {
  for (std::size_t i = 0; i < leaves.size(); ++i) {
    auto accumulator = torch::autograd::impl::grad_accumulator(leaves[i]);
    const auto key =
        accumulator->add_post_hook(std::make_unique<Hook>(static_cast<int>(i), on_gradient));
    installed_.push_back({std::move(accumulator), key});
  }
}

GradHooks::~GradHooks() {
  for (const Installed& hook : installed_) hook.accumulator->del_post_hook(hook.key);
}

}  // namespace muster::sharding
