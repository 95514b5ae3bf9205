#include "configs/field.h"

#include <fmt/core.h>

#include <cmath>

#include "base/text.h"

namespace muster::configs {
namespace {

// Gives " >= 1" or " in [0, 1)", and "" when every number is allowed.
std::string range_words(const Limits& limits) {
  const bool has_low = std::isfinite(limits.low);
  const bool has_high = std::isfinite(limits.high);
  if (has_low && has_high) {
    return fmt::format(" in {}{}, {}{}", limits.low_open ? '(' : '[', limits.low, limits.high,
                       limits.high_open ? ')' : ']');
  }
  if (has_low) return fmt::format(" {} {}", limits.low_open ? ">" : ">=", limits.low);
  return "";
}

}  // namespace

std::string allowed(const Field& field) {
  const Limits& limits = field.limits;
  const std::string range = range_words(limits);
  switch (field.kind) {
    case Kind::kString:
      return limits.may_be_empty ? "a string, may be \"\"" : "a string, not empty";
    case Kind::kStrings:
      return limits.may_be_empty ? "a string or a list of strings, may be []"
                                 : "a string or a list of strings, not empty";
    case Kind::kBool: return "true | false";
    case Kind::kInt: return "an integer" + range;
    case Kind::kNumber: return "a number" + range;
    case Kind::kOptionalInt: return "null or an integer" + range;
    case Kind::kOptionalNumber: return "null or a number" + range;
    case Kind::kNumbers:
      return limits.length > 0 ? fmt::format("a list of {} numbers{}", limits.length, range)
                               : fmt::format("a list of numbers{}", range);
    case Kind::kIntMap: return "a map of names to integers" + range + ", not empty";
    case Kind::kStringMap: return "a map of names to strings, may be {}";
    case Kind::kPacks:
      return "a path or a list of {pack, weight}, weight" + range +
             (limits.may_be_empty ? ", may be \"\"" : ", not empty");
    case Kind::kChoice: return join(limits.choices, " | ");
  }
  return "";
}

}  // namespace muster::configs
