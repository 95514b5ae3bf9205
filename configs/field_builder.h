// How the tables in fields_*.cpp are written: a section, a key, a member, its limits, its unit, its
// meaning.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "configs/fields.h"

namespace muster::configs {

inline Limits anything() { return {}; }
inline Limits not_empty() { return {.may_be_empty = false}; }
inline Limits at_least(double low) { return {.low = low}; }
inline Limits above(double low) { return {.low = low, .low_open = true}; }
inline Limits between(double low, double high) { return {.low = low, .high = high}; }
inline Limits one_of(Strings choices) {
  return {.choices = std::move(choices), .may_be_empty = false};
}

template <typename T>
Kind kind_of() {
  return static_cast<Kind>(Value(std::in_place_type<T>).index());
}

// Makes the fields of one struct of Config. `locate` finds it: called with Config& or const
// Config&.
template <typename Locate>
class Section {
 public:
  Section(std::string name, Locate locate) : name_(std::move(name)), locate_(locate) {}

  template <typename Struct, typename T>
  Field operator()(const char* key, T Struct::*member, Limits limits, const char* unit,
                   const char* meaning) const {
    return {name_ + "." + key,
            kind_of<T>(),
            std::move(limits),
            unit,
            meaning,
            [locate = locate_, member](const Config& config) -> Value {
              return locate(config).*member;
            },
            [locate = locate_, member](Config& config, const Value& value) {
              locate(config).*member = std::get<T>(value);
            }};
  }

 private:
  std::string name_;
  Locate locate_;
};

template <typename Struct>
auto section(const char* name, Struct Config::*member) {
  return Section(
      name, [member](auto& config) -> auto& { return config.*member; });
}

// One list per file of the table.
std::vector<Field> model_and_data_fields();
std::vector<Field> training_fields();
std::vector<Field> operation_fields();

}  // namespace muster::configs
