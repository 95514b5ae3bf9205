// One row of the table of settings: a key, what it takes, what it means, and the member of Config
// that holds it.
#pragma once

#include <cstdint>
#include <functional>
#include <limits>
#include <map>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "configs/choices.h"
#include "configs/config.h"

namespace muster::configs {

using Strings = std::vector<std::string>;
using Numbers = std::vector<double>;
using IntMap = std::map<std::string, std::int64_t>;
using StringMap = std::map<std::string, std::string>;
using Packs = std::vector<PackShare>;
using OptionalInt = std::optional<std::int64_t>;
using OptionalNumber = std::optional<double>;
// A value as YAML has it. A choice is a string here, and an enum in Config.
using Value = std::variant<std::string, Strings, bool, std::int64_t, double, Numbers, IntMap,
                           StringMap, Packs, OptionalInt, OptionalNumber>;

// All but the last are in the order of Value's alternatives.
enum class Kind {
  kString,
  kStrings,
  kBool,
  kInt,
  kNumber,
  kNumbers,
  kIntMap,
  kStringMap,
  kPacks,
  kOptionalInt,
  kOptionalNumber,
  kChoice
};

// What a value must satisfy beyond its kind. The range holds for every element of a list or map.
struct Limits {
  double low = -std::numeric_limits<double>::infinity();
  double high = std::numeric_limits<double>::infinity();
  bool low_open = false;
  bool high_open = false;
  Strings choices = {};      // the words of a choice
  bool may_be_empty = true;  // a string, list or map
  std::size_t length = 0;    // of a list of numbers; 0: any

  bool contains(double x) const {
    return (low_open ? x > low : x >= low) && (high_open ? x < high : x <= high);
  }
};

// What a change means for a run that continues from a checkpoint (docs/resume.md).
enum class Resume {
  kFree,   // takes effect: no number of the training depends on it
  kTold,   // takes effect, is printed and recorded
  kEpoch,  // the order of the data depends on it: refused inside an epoch
  kNever   // shapes or dtypes of what the checkpoint holds depend on it: refused
};
template <>
inline constexpr auto kNames<Resume> = std::to_array<Named<Resume>>({{Resume::kFree, "free"},
                                                                     {Resume::kTold, "told"},
                                                                     {Resume::kEpoch, "epoch"},
                                                                     {Resume::kNever, "never"}});

struct Field {
  std::string name;  // "section.key", dots all the way down
  Kind kind;
  Limits limits;
  std::string unit;  // "" when it has none
  std::string meaning;
  Resume resume;
  std::function<Value(const Config&)> get;
  // REQUIRES the alternative of `kind`; for a choice, one of limits.choices.
  std::function<void(Config&, const Value&)> set;
  // The key that is the other way to say the same, "" when there is none: exactly one of the two is
  // not null. A later file or --set that gives one makes an earlier value of the other null.
  std::string other_way = {};
};

// What the field takes, in words: "an integer >= 1", "fp32 | bf16 | fp16", "3 numbers > 0".
std::string allowed(const Field& field);

}  // namespace muster::configs
