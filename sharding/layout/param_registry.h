// Names -> parameters -> learning-rate groups (law 3).
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace muster::sharding {

struct NamedTensor {
  std::string name;
  at::Tensor tensor;     // a leaf
  bool frozen = false;   // whatever its group says
  double lr_factor = 1;  // on its group's learning rate
};

struct Betas {
  double beta1 = 0, beta2 = 0;
};

struct GroupRule {
  std::string name;                   // e.g. "merger"
  std::vector<std::string> prefixes;  // e.g. {"visual.merger."}
  double weight_decay = 0;
  bool frozen = false;                        // lr 0: no gradient, no state, no traffic
  std::optional<Betas> betas = std::nullopt;  // none: the engine's
};

// One trainable or frozen storage. Tied names (same storage) share one slot and keep the first
// name.
struct Param {
  std::string name;
  std::vector<std::string> aliases;
  at::Tensor tensor;
  int group = -1;
  double weight_decay = 0;
  double lr_factor = 1;
};

class ParamRegistry {
 public:
  // Rules are tried in order; the first whose prefix matches takes the parameter. Throws
  // ConfigError naming every parameter that no rule matches. Sets requires_grad on trainable
  // parameters and clears it on frozen ones. With decay_1d false, parameters of fewer than two
  // dimensions get weight_decay 0.
  ParamRegistry(const std::vector<NamedTensor>& tensors, std::vector<GroupRule> rules,
                bool decay_1d);

  const std::vector<Param>& trainable() const { return trainable_; }  // registration order
  const std::vector<Param>& frozen() const { return frozen_; }
  const std::vector<GroupRule>& groups() const { return groups_; }

 private:
  std::vector<GroupRule> groups_;
  std::vector<Param> trainable_, frozen_;
};

}  // namespace muster::sharding
