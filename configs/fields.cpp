#include "configs/fields.h"

#include <fmt/core.h>

#include <algorithm>
#include <cmath>

#include "base/text.h"
#include "configs/field_builder.h"

namespace muster::configs {
namespace {

std::vector<Field> assemble() {
  std::vector<Field> all = model_and_data_fields();
  for (const auto& part : {training_fields(), operation_fields()})
    all.insert(all.end(), part.begin(), part.end());
  return all;
}

// " >= 1", " in [0, 1)", or "" when everything is allowed.
std::string range_words(const Limits& limits) {
  const bool low = std::isfinite(limits.low), high = std::isfinite(limits.high);
  if (low && high) {
    return fmt::format(" in {}{}, {}{}", limits.low_open ? '(' : '[', limits.low, limits.high,
                       limits.high_open ? ')' : ']');
  }
  if (low) return fmt::format(" {} {}", limits.low_open ? ">" : ">=", limits.low);
  return "";
}

}  // namespace

const std::vector<Field>& fields() {
  static const std::vector<Field> all = assemble();
  return all;
}

const Field* find_field(std::string_view name) {
  const auto found = std::ranges::find(fields(), name, &Field::name);
  return found == fields().end() ? nullptr : &*found;
}

bool is_section(std::string_view prefix) { return !keys_under(prefix).empty(); }

Strings keys_under(std::string_view prefix) {
  const std::string start = prefix.empty() ? "" : std::string(prefix) + ".";
  Strings keys;
  for (const Field& field : fields()) {
    if (!field.name.starts_with(start)) continue;
    const std::string key =
        field.name.substr(start.size(), field.name.find('.', start.size()) - start.size());
    if (keys.empty() || keys.back() != key) keys.push_back(key);
  }
  return keys;
}

std::string allowed(const Field& field) {
  const Limits& limits = field.limits;
  const std::string range = range_words(limits);
  switch (field.kind) {
    case Kind::kString:
      if (!limits.choices.empty()) return join(limits.choices, " | ");
      return limits.may_be_empty ? "a string, may be \"\"" : "a string, not empty";
    case Kind::kStrings:
      return limits.may_be_empty ? "a string or a list of strings, may be []"
                                 : "a string or a list of strings, not empty";
    case Kind::kBool: return "true | false";
    case Kind::kInt: return "an integer" + range;
    case Kind::kNumber: return "a number" + range;
    case Kind::kNumbers: return fmt::format("a list of {} numbers{}", limits.length, range);
    case Kind::kIntMap: return "a map of names to integers" + range + ", not empty";
    case Kind::kStringMap: return "a map of names to strings, may be {}";
  }
  return "";
}

}  // namespace muster::configs
