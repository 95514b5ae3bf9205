#include "data/pack/class_map.h"

#include <fmt/core.h>
#include <utf8proc.h>

#include <algorithm>
#include <cstdlib>
#include <memory>
#include <nlohmann/json.hpp>
#include <utility>

#include "base/error.h"
#include "base/json.h"

namespace muster::data {
namespace {

// Unicode case folding without the white space around. Bytes that are not UTF-8 stay as they are.
std::string fold(const std::string& text) {
  constexpr const char* kBlank = " \t\r\n";
  const std::size_t first = text.find_first_not_of(kBlank);
  if (first == std::string::npos) return "";
  const std::string trimmed = text.substr(first, text.find_last_not_of(kBlank) - first + 1);
  utf8proc_uint8_t* raw = nullptr;
  const auto options =
      static_cast<utf8proc_option_t>(UTF8PROC_STABLE | UTF8PROC_COMPOSE | UTF8PROC_CASEFOLD);
  const utf8proc_ssize_t length =
      utf8proc_map(reinterpret_cast<const utf8proc_uint8_t*>(trimmed.data()),
                   static_cast<utf8proc_ssize_t>(trimmed.size()), &raw, options);
  const std::unique_ptr<utf8proc_uint8_t, decltype(&std::free)> owner(raw, &std::free);
  return length < 0
             ? trimmed
             : std::string(reinterpret_cast<const char*>(raw), static_cast<std::size_t>(length));
}

}  // namespace

ClassMap::ClassMap(std::vector<Category> active) : active_(std::move(active)) {
  std::sort(active_.begin(), active_.end(),
            [](const Category& a, const Category& b) { return a.id < b.id; });
  for (const Category& category : active_) folded_.push_back(fold(category.name));
}

std::int64_t ClassMap::to_index(std::int64_t original_id, const std::string& where) const {
  const auto at =
      std::lower_bound(active_.begin(), active_.end(), original_id,
                       [](const Category& category, std::int64_t id) { return category.id < id; });
  if (at == active_.end() || at->id != original_id) {
    std::string known;
    for (const Category& category : active_)
      known += fmt::format("{}{} {}", known.empty() ? "" : ", ", category.id, category.name);
    throw DataError(
        fmt::format("{}: category id {} is not in the class map ({}): this data does not belong to "
                    "this model's classes",
                    where, original_id, known));
  }
  return at - active_.begin();
}

const Category& ClassMap::category(std::int64_t index) const {
  if (index < 0 || index >= size())
    throw DataError(
        fmt::format("class index {} is outside the class map of {} classes", index, size()));
  return active_[index];
}

std::int64_t ClassMap::find_name(const std::string& caption) const {
  const auto at = std::find(folded_.begin(), folded_.end(), fold(caption));
  return at == folded_.end() ? -1 : at - folded_.begin();
}

std::string ClassMap::to_json() const {
  nlohmann::json classes = nlohmann::json::array();
  for (const Category& category : active_)
    classes.push_back({{"index", classes.size()}, {"id", category.id}, {"name", category.name}});
  return nlohmann::json{{"classes", classes}}.dump(2);
}

ClassMap ClassMap::from_json(const std::string& text) {
  try {
    std::vector<Category> active;
    const nlohmann::json parsed = parse_json(text);
    for (const auto& entry : parsed.at("classes"))
      active.push_back({entry.at("id").get<std::int64_t>(), entry.at("name").get<std::string>()});
    return ClassMap(std::move(active));
  } catch (const nlohmann::json::exception& error) {
    throw DataError(fmt::format("class map: {}", json_fault(error)));
  }
}

}  // namespace muster::data
