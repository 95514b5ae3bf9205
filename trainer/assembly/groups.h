// The config's learning-rate groups, as the engine takes them.
#pragma once

#include <string_view>
#include <vector>

#include "configs/config.h"
#include "model/detector.h"
#include "sharding/layout/param_registry.h"

namespace muster::trainer {

// Law 3's prefixes, one rule per entry of configs::kGroups, in its order. A head that does not run
// is frozen.
std::vector<sharding::GroupRule> group_rules(const configs::Config& config);
// Peak learning rates, in the same order.
std::vector<double> group_lrs(const configs::Groups& groups);

// Is it a weight beneath a LoRA run's adapters, whatever its group's rate is?
bool is_frozen(const configs::Config& config, std::string_view parameter);

// The detector's parameters, each in its group; those that train want a gradient from here on.
// Throws ConfigError naming parameters that belong to no group.
sharding::ParamRegistry register_parameters(const configs::Config& config,
                                            const model::Detector& detector);

}  // namespace muster::trainer
