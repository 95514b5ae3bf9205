// Which settings of several config.yaml differ.
#pragma once

#include <string>
#include <vector>

namespace muster::trainer {

struct ConfigDifference {
  std::string key;                  // "schedule.max_steps"
  std::vector<std::string> values;  // one per config; "" where it has no such key
};

// Of resolved configs, in the order of their keys. One that is no YAML has no keys.
std::vector<ConfigDifference> config_differences(const std::vector<std::string>& configs);

}  // namespace muster::trainer
