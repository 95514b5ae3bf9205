#include "trainer/assembly/groups.h"

#include "configs/groups.h"
#include "model/qwen/lora.h"

namespace muster::trainer {

std::vector<sharding::GroupRule> group_rules(const configs::Config& config) {
  std::vector<sharding::GroupRule> rules;
  for (const configs::GroupEntry& entry : configs::kGroups) {
    const configs::Group& group = config.groups.*entry.member;
    const bool idle = entry.id == configs::GroupId::kDetectionHead && !config.detection.enabled;
    rules.push_back({.name = std::string(entry.name),
                     .prefixes = {std::string(entry.prefix)},
                     .weight_decay = group.weight_decay,
                     .frozen = group.lr == 0 || idle});
  }
  return rules;
}

std::vector<double> group_lrs(const configs::Groups& groups) {
  std::vector<double> lrs;
  for (const configs::GroupEntry& entry : configs::kGroups) {
    lrs.push_back((groups.*entry.member).lr);
  }
  return lrs;
}

bool is_frozen(const configs::Config& config, std::string_view parameter) {
  const configs::GroupEntry* group = configs::group_of(parameter);
  const bool head = group != nullptr && group->id == configs::GroupId::kDetectionHead;
  return config.lora.enabled && !head && !model::is_adapter(parameter);
}

sharding::ParamRegistry register_parameters(const configs::Config& config,
                                            const model::Detector& detector) {
  std::vector<sharding::NamedTensor> tensors;
  for (const model::NamedParam& p : detector.parameters()) {
    tensors.push_back({.name = p.name,
                       .tensor = p.tensor,
                       .frozen = is_frozen(config, p.name),
                       .lr_factor = model::is_lora_b(p.name) ? config.lora.lora_plus_ratio : 1});
  }
  return {tensors, group_rules(config), config.optimizer.decay_1d};
}

}  // namespace muster::trainer
