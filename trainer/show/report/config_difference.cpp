#include "trainer/show/report/config_difference.h"

#include <fmt/core.h>

#include <algorithm>
#include <map>

#include "base/yaml/yaml.h"

namespace muster::trainer {
namespace {

using Settings = std::map<std::string, std::string>;

std::string flow_text(const YAML::Node& node) {
  YAML::Emitter out;
  out << YAML::Flow << node;
  return out.c_str();
}

// Sections hold sections; all else is a value.
void flatten(const YAML::Node& node, const std::string& prefix, Settings& settings) {
  if (!node.IsMap()) {
    settings[prefix] = flow_text(node);
    return;
  }
  for (const auto& entry : node) {
    const std::string key = entry.first.as<std::string>("");
    flatten(entry.second, prefix.empty() ? key : fmt::format("{}.{}", prefix, key), settings);
  }
}

Settings settings_of(const std::string& config) {
  Settings settings;
  try {
    for (const YAML::Node& document : parse_yaml(config)) flatten(document, "", settings);
  } catch (const YAML::Exception&) {
    return {};
  }
  return settings;
}

}  // namespace

std::vector<ConfigDifference> config_differences(const std::vector<std::string>& configs) {
  std::map<std::string, std::vector<std::string>> by_key;
  for (std::size_t i = 0; i < configs.size(); ++i) {
    for (const auto& [key, value] : settings_of(configs[i])) {
      std::vector<std::string>& values = by_key[key];
      values.resize(configs.size());
      values[i] = value;
    }
  }
  std::vector<ConfigDifference> differences;
  for (auto& [key, values] : by_key) {
    const bool same =
        std::ranges::all_of(values, [&](const auto& value) { return value == values.front(); });
    if (!same) differences.push_back({key, std::move(values)});
  }
  return differences;
}

}  // namespace muster::trainer
