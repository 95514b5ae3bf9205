#include "data/sources/parse/numbers.h"

#include <fmt/core.h>

#include <charconv>
#include <cmath>

namespace muster::data {

using nlohmann::json;

std::optional<double> parse_number(std::string_view text) {
  if (text.starts_with('+')) text.remove_prefix(1);
  double value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

std::optional<double> loose_number(const json& value) {
  if (value.is_number()) return value.get<double>();
  if (value.is_string()) return parse_number(value.get_ref<const std::string&>());
  return std::nullopt;
}

bool loose_flag(const json& value) {
  if (value.is_boolean()) return value.get<bool>();
  return loose_number(value).value_or(0) != 0;
}

std::optional<std::string> loose_id(const json& value) {
  constexpr double kExact = 9007199254740992.0;  // 2^53: above it not every integer is a double
  if (value.is_number_integer()) return value.dump();
  if (value.is_number()) {
    const auto number = value.get<double>();
    if (number != std::floor(number) || std::abs(number) > kExact) return std::nullopt;
    return fmt::format("{}", static_cast<std::int64_t>(number));
  }
  if (value.is_string() && !value.get_ref<const std::string&>().empty())
    return value.get<std::string>();
  return std::nullopt;
}

std::optional<std::string> loose_text(const json& value) {
  if (value.is_string()) return value.get<std::string>();
  if (value.is_number()) return loose_id(value);
  return std::nullopt;
}

std::optional<std::int64_t> integer_id(const std::string& id) {
  std::int64_t value = 0;
  const char* last = id.data() + id.size();
  const auto [end, error] = std::from_chars(id.data(), last, value);
  // "007" stays a text: it is another id than 7.
  if (error != std::errc() || end != last || fmt::format("{}", value) != id) return std::nullopt;
  return value;
}

}  // namespace muster::data
