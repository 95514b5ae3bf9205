// The one table of settings. The loader, to_yaml, describe_fields and the tests walk it; nothing
// else knows a key by name.
#pragma once

#include <cstdint>
#include <functional>
#include <limits>
#include <map>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "configs/config.h"

namespace muster::configs {

using Strings = std::vector<std::string>;
using Numbers = std::vector<double>;
using IntMap = std::map<std::string, std::int64_t>;
using StringMap = std::map<std::string, std::string>;
using Value =
    std::variant<std::string, Strings, bool, std::int64_t, double, Numbers, IntMap, StringMap>;

// In the order of Value's alternatives.
enum class Kind { kString, kStrings, kBool, kInt, kNumber, kNumbers, kIntMap, kStringMap };

// What a value must satisfy beyond its kind. The range holds for every element of a list or map.
struct Limits {
  double low = -std::numeric_limits<double>::infinity();
  double high = std::numeric_limits<double>::infinity();
  bool low_open = false, high_open = false;
  Strings choices = {};      // of a string; empty: any
  bool may_be_empty = true;  // a string, list or map
  std::size_t length = 0;    // of a list of numbers; 0: any

  bool contains(double x) const {
    return (low_open ? x > low : x >= low) && (high_open ? x < high : x <= high);
  }
};

struct Field {
  std::string name;  // "section.key", dots all the way down
  Kind kind;
  Limits limits;
  std::string unit;  // "" when it has none
  std::string meaning;
  std::function<Value(const Config&)> get;
  std::function<void(Config&, const Value&)> set;  // REQUIRES the alternative of `kind`
};

// In the order of the structs in config.h.
const std::vector<Field>& fields();
const Field* find_field(std::string_view name);  // nullptr when there is none

// True when `prefix` is a section: some field is named "prefix.<more>".
bool is_section(std::string_view prefix);
// The keys directly under a section, in order; "" gives the top level.
Strings keys_under(std::string_view prefix);

// What the field takes, in words: "an integer >= 1", "fp32 | bf16 | fp16", "3 numbers > 0".
std::string allowed(const Field& field);

}  // namespace muster::configs
