// Calls a function each time autograd has accumulated a parameter's gradient.
#pragma once

#include <ATen/core/Tensor.h>

#include <functional>
#include <memory>
#include <vector>

namespace muster::sharding {

class GradHooks {
 public:
  // `on_gradient(i)` runs after the gradient of leaf i was accumulated: once per backward that
  // reaches it (however often the forward used it), and once more for every nested backward of a
  // checkpointed segment that does.
  GradHooks(const std::vector<at::Tensor>& leaves, const std::function<void(int)>& on_gradient);
  ~GradHooks();  // removes the hooks
  GradHooks(const GradHooks&) = delete;
  GradHooks& operator=(const GradHooks&) = delete;

 private:
  struct Installed;
  std::vector<Installed> installed_;
};

}  // namespace muster::sharding
