#include "trainer/assembly/groups.h"

#include "configs/groups.h"
#include "trainer/assembly/learning.h"

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

sharding::ParamRegistry register_parameters(const configs::Config& config,
                                            const model::Detector& detector) {
  const std::vector<model::NamedParam> parameters = detector.parameters();
  std::vector<std::string> names;
  for (const model::NamedParam& p : parameters) names.push_back(p.name);
  const Learning learning(config, names);
  std::vector<sharding::NamedTensor> tensors;
  for (const model::NamedParam& p : parameters) {
    tensors.push_back({.name = p.name,
                       .tensor = p.tensor,
                       .frozen = learning.frozen(p.name),
                       .lr_factor = learning.lr_factor(p.name)});
  }
  return {tensors, group_rules(config), config.optimizer.decay_1d};
}

}  // namespace muster::trainer
