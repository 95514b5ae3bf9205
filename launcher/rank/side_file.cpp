#include "launcher/rank/side_file.h"

#include <cmath>
#include <nlohmann/json.hpp>
#include <system_error>

#include "base/files.h"
#include "base/json.h"

namespace muster::launcher {
namespace {

using nlohmann::json;

constexpr std::uintmax_t kMaxBytes = std::uintmax_t{16} << 20;

const json* find(const json& object, const char* key) {
  if (!object.is_object()) return nullptr;
  const auto found = object.find(key);
  return found == object.end() ? nullptr : &*found;
}

}  // namespace

json parse_side_file(std::string_view text) {
  json value = parse_json_or_null(text);
  return value.is_object() ? value : json();
}

json read_side_file(const fs::path& file) {
  std::error_code absent;
  if (!fs::is_regular_file(file, absent) || fs::file_size(file, absent) > kMaxBytes) return {};
  try {
    return parse_side_file(read_text(file));
  } catch (const std::exception&) {
    return {};
  }
}

std::int64_t whole_number(const json& object, const char* key, std::int64_t otherwise,
                          std::int64_t least, std::int64_t most) {
  const json* value = find(object, key);
  if (value == nullptr || !value->is_number_integer()) return otherwise;
  const bool beyond = value->is_number_unsigned() &&
                      value->get<std::uint64_t>() > static_cast<std::uint64_t>(INT64_MAX);
  if (beyond) return otherwise;
  const auto number = value->get<std::int64_t>();
  return number < least || number > most ? otherwise : number;
}

double finite_number(const json& object, const char* key, double otherwise) {
  const json* value = find(object, key);
  if (value == nullptr || !value->is_number()) return otherwise;
  const auto number = value->get<double>();
  return std::isfinite(number) ? number : otherwise;
}

bool flag(const json& object, const char* key) { return member_or(object, key, false); }

std::string short_text(const json& object, const char* key) {
  constexpr std::size_t kMost = 4096;
  return member_or(object, key, std::string()).substr(0, kMost);
}

const json& list(const json& object, const char* key) {
  static const json kNone = json::array();
  const json* value = find(object, key);
  return value != nullptr && value->is_array() ? *value : kNone;
}

}  // namespace muster::launcher
