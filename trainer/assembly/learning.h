// Which parameters learn, and at what part of their group's rate: lr 0, first_layers_frozen,
// groups.freeze, the weights beneath adapters, layer_decay, LoRA+.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/pattern.h"
#include "configs/config.h"
#include "configs/groups.h"

namespace muster::trainer {

class Learning {
 public:
  // `names`: every parameter's published name, those of the weights in forward order. Throws
  // ConfigError naming the key when a pattern of groups.freeze matches no name, when a group has
  // fewer layers than its keys ask for, or when nothing would learn.
  Learning(const configs::Config& config, const std::vector<std::string>& names);

  // Whatever its group's rate is.
  bool frozen(std::string_view parameter) const;
  // On its group's rate.
  double lr_factor(std::string_view parameter) const;

 private:
  // The layers of one group, and which of its parameters come before them.
  struct Stack {
    std::int64_t layers = 0;
    std::vector<std::string> before;  // sorted
  };

  void find_layers(const std::vector<std::string>& names);
  void check_layers() const;
  void check_patterns(const std::vector<std::string>& names) const;
  void check_some_learn(const std::vector<std::string>& names) const;
  const Stack& stack_of(const configs::GroupEntry& group) const;
  // From 0; -1: before the first; the number of layers: behind the last, or of no layer.
  std::int64_t layer_of(const configs::GroupEntry& group, std::string_view parameter) const;

  const configs::Config config_;
  std::vector<Pattern> freeze_;
  std::array<Stack, configs::kGroups.size()> stacks_;
};

}  // namespace muster::trainer
