// The config's learning-rate groups, as the engine takes them.
#pragma once

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

// The detector's parameters, each in its group; those that train want a gradient from here on.
// Throws ConfigError naming parameters that belong to no group, and as Learning does.
sharding::ParamRegistry register_parameters(const configs::Config& config,
                                            const model::Detector& detector);

}  // namespace muster::trainer
