#include "sharding/layout/param_registry.h"

#include <fmt/format.h>

#include <unordered_map>
#include <unordered_set>

#include "base/error.h"
#include "base/text.h"

namespace muster::sharding {
namespace {

constexpr int kNoGroup = -1;

int group_of(const std::string& name, const std::vector<GroupRule>& rules) {
  for (std::size_t g = 0; g < rules.size(); ++g) {
    for (const std::string& prefix : rules[g].prefixes) {
      if (name.starts_with(prefix)) return static_cast<int>(g);
    }
  }
  return kNoGroup;
}

std::string describe(const std::vector<GroupRule>& rules) {
  std::vector<std::string> lines;
  for (const GroupRule& rule : rules)
    lines.push_back(fmt::format("{} ({})", rule.name, join(rule.prefixes, ", ")));
  return join(lines, "; ");
}

// Every name must match a rule, tied ones too.
void refuse_strays(const std::vector<NamedTensor>& tensors, const std::vector<GroupRule>& rules) {
  std::vector<std::string> strays;
  for (const NamedTensor& t : tensors) {
    if (group_of(t.name, rules) == kNoGroup) strays.push_back(t.name);
  }
  if (strays.empty()) return;
  throw ConfigError(fmt::format(
      "parameters in no learning-rate group: {}. Groups and prefixes: {}. Add a prefix that "
      "matches, with lr 0 to freeze them.",
      join(strays, ", "), describe(rules)));
}

// Returns one entry per tensor; further names of the same tensor become aliases.
std::vector<Param> unique_params(const std::vector<NamedTensor>& tensors) {
  std::vector<Param> params;
  std::unordered_map<const void*, std::size_t> by_tensor, by_memory;
  for (const NamedTensor& t : tensors) {
    const auto [tied, is_new] =
        by_tensor.try_emplace(t.tensor.unsafeGetTensorImpl(), params.size());
    if (!is_new) {
      params[tied->second].aliases.push_back(t.name);
      continue;
    }
    if (t.tensor.numel() > 0) {
      const auto [other, alone] = by_memory.try_emplace(t.tensor.const_data_ptr(), params.size());
      if (!alone) {
        throw ConfigError(fmt::format(
            "parameters {} and {} share memory but are two tensors: their gradients would "
            "differ. Tie them by assigning one tensor to both.",
            params[other->second].name, t.name));
      }
    }
    params.push_back({.name = t.name, .aliases = {}, .tensor = t.tensor, .lr_factor = t.lr_factor});
  }
  return params;
}

}  // namespace

ParamRegistry::ParamRegistry(const std::vector<NamedTensor>& tensors, std::vector<GroupRule> rules,
                             bool decay_1d)
    : groups_(std::move(rules)) {
  refuse_strays(tensors, groups_);
  std::unordered_set<std::string> frozen_by_name;
  for (const NamedTensor& t : tensors) {
    if (t.frozen) frozen_by_name.insert(t.name);
  }
  for (Param& param : unique_params(tensors)) {
    param.group = group_of(param.name, groups_);
    const GroupRule& group = groups_[param.group];
    param.weight_decay = decay_1d || param.tensor.dim() >= 2 ? group.weight_decay : 0;
    const bool frozen = group.frozen || frozen_by_name.contains(param.name);
    param.tensor.requires_grad_(!frozen);
    (frozen ? frozen_ : trainable_).push_back(std::move(param));
  }
}

}  // namespace muster::sharding
