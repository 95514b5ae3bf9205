// YAML node -> Value, strictly, and back to text.
#pragma once

#include <yaml-cpp/yaml.h>

#include <optional>
#include <string>
#include <vector>

#include "configs/field.h"

namespace muster::configs {

struct Complaint {
  int line;          // 1-based
  std::string what;  // "expected ..., got X, allowed Y (did you mean 'Z'?)"
};

// Returns nothing, with at least one complaint, when the node is not what the field allows. Only
// plain true and false are bools. An integer is written in decimal digits, or with an exponent when
// the value is whole (1e6). A string may be any scalar.
std::optional<Value> parse_value(const Field& field, const YAML::Node& node,
                                 std::vector<Complaint>& complaints);

// Complains of every key that occurs twice in this one map; yaml-cpp itself keeps the first and
// says nothing.
std::vector<Complaint> duplicate_keys(const YAML::Node& map);

int line_of(const YAML::Node& node);          // 1-based
std::string spelled(const YAML::Node& node);  // what the user wrote, short, for "got X"
// Writes one line of YAML that parse_value reads back to the same bits.
std::string to_text(const Value& value);

}  // namespace muster::configs
