// The optimizer of adamw_4_steps.safetensors, in the plainest form: the reference that the sharded
// engine is held to.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <string>
#include <vector>

namespace muster::golden {

struct AdamWGroup {
  std::string prefix;  // the first group whose prefix matches takes the parameter
  double lr = 0;
};

struct AdamWOptions {
  double beta1 = 0, beta2 = 0, eps = 0, clip_norm = 0;
  double weight_decay = 0;  // of parameters with more than one dimension
  std::vector<AdamWGroup> groups;
};

// Decoupled weight decay (Loshchilov and Hutter, 2019). Parameters without a gradient are left
// alone.
class AdamW {
 public:
  AdamW(std::vector<std::pair<std::string, at::Tensor>> params, AdamWOptions options);

  // From the parameters' gradients, which are then dropped. Returns their global norm before
  // clipping.
  double step();

 private:
  struct State {
    at::Tensor param, exp_avg, exp_avg_sq;
    double lr = 0, weight_decay = 0;
  };
  AdamWOptions options_;
  std::vector<State> states_;
  std::int64_t steps_ = 0;
};

}  // namespace muster::golden
