#include "configs/compare.h"

#include <fmt/core.h>

#include <optional>
#include <span>

#include "base/error.h"
#include "base/text.h"
#include "base/yaml/yaml.h"
#include "configs/fields.h"
#include "configs/value.h"

namespace muster::configs {
namespace {

YAML::Node root_of(std::string_view text) {
  try {
    const std::vector<YAML::Node> documents = parse_yaml(std::string(text));
    return documents.empty() ? YAML::Node() : documents[0];
  } catch (const YAML::Exception& error) {
    throw ConfigError(fmt::format("malformed YAML: {}", error.msg));
  }
}

// The node at the end of the path; nothing where a part of it is missing.
std::optional<YAML::Node> find(const YAML::Node& node, std::span<const std::string> path) {
  if (path.empty()) return node;
  if (!node.IsMap()) return std::nullopt;
  const YAML::Node child = node[path[0]];
  if (!child.IsDefined()) return std::nullopt;
  return find(child, path.subspan(1));
}

std::optional<Value> value_in(const YAML::Node& root, const Field& field) {
  const Strings path = split(field.name, '.');
  const std::optional<YAML::Node> node = find(root, path);
  std::vector<Complaint> complaints;
  return node ? parse_value(field, *node, complaints) : std::nullopt;
}

// As people write it: a word without the quotes that YAML may need.
std::string shown(const Value& value) {
  const auto* text = std::get_if<std::string>(&value);
  return text == nullptr || text->empty() ? to_text(value) : *text;
}

}  // namespace

Comparison compare(std::string_view before, const Config& now) {
  const YAML::Node root = root_of(before);
  Comparison result;
  for (const Field& field : fields()) {
    const std::optional<Value> then = value_in(root, field);
    if (!then) {
      result.unknown.push_back(field.name);
      continue;
    }
    const Value today = field.get(now);
    if (to_text(*then) != to_text(today))
      result.changes.push_back({&field, *then, today, shown(*then), shown(today)});
  }
  return result;
}

}  // namespace muster::configs
