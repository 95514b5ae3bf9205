// The tables in fields_*.cpp are written with these words: a section, a key, a member, its limits,
// its unit, its meaning, and what a change means at a resume.
#pragma once

#include <initializer_list>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include "configs/choices.h"
#include "configs/field.h"

namespace muster::configs {

inline Limits anything() { return {}; }
inline Limits not_empty() { return {.may_be_empty = false}; }
inline Limits at_least(double low) { return {.low = low}; }
inline Limits above(double low) { return {.low = low, .low_open = true}; }
inline Limits between(double low, double high) { return {.low = low, .high = high}; }

// Any word of the enum's table.
template <Choice Enum>
Limits one_of() {
  return {.choices = names<Enum>(), .may_be_empty = false};
}
// Some of them only.
template <Choice Enum>
Limits one_of(std::initializer_list<Enum> values) {
  Limits limits = not_empty();
  for (const Enum value : values) limits.choices.emplace_back(name_of(value));
  return limits;
}

// The alternative of Value that carries a member, and the ways there and back.
template <typename T>
struct Carrier {
  static constexpr Kind kind() { return static_cast<Kind>(Value(std::in_place_type<T>).index()); }
  static Value to_value(const T& member) { return member; }
  static T from_value(const Value& value) { return std::get<T>(value); }
};
template <Choice Enum>
struct Carrier<Enum> {
  static constexpr Kind kind() { return Kind::kChoice; }
  static Value to_value(Enum member) { return std::string(name_of(member)); }
  static Enum from_value(const Value& value) {
    return from_name<Enum>(std::get<std::string>(value)).value();
  }
};

// Makes the fields of one struct of Config. `locate` finds it, in a Config& or a const Config&.
template <typename Locate>
class Section {
 public:
  Section(std::string name, Locate locate) : name_(std::move(name)), locate_(locate) {}

  template <typename Struct, typename T>
  Field operator()(const char* key, T Struct::*member, Limits limits, const char* unit,
                   const char* meaning, Resume resume) const {
    return {name_ + "." + key,
            Carrier<T>::kind(),
            std::move(limits),
            unit,
            meaning,
            resume,
            [locate = locate_, member](const Config& config) {
              return Carrier<T>::to_value(locate(config).*member);
            },
            [locate = locate_, member](Config& config, const Value& value) {
              locate(config).*member = Carrier<T>::from_value(value);
            }};
  }

 private:
  std::string name_;
  Locate locate_;
};

// Marks two neighbours of a list as two ways to say the same.
inline void pair_up(std::vector<Field>& fields, std::string_view one, std::string_view other) {
  for (Field& field : fields) {
    if (field.name == one) field.other_way = other;
    if (field.name == other) field.other_way = one;
  }
}

template <typename Struct>
auto section(const char* name, Struct Config::*member) {
  return Section(
      name, [member](auto& config) -> auto& { return config.*member; });
}

// Each file of the table has one list.
std::vector<Field> model_and_data_fields();
std::vector<Field> training_fields();
std::vector<Field> operation_fields();

}  // namespace muster::configs
