#include "data/ingest/classes.h"

#include <fmt/core.h>

#include <algorithm>
#include <unordered_map>
#include <unordered_set>

#include "base/error.h"
#include "base/text.h"

namespace muster::data {
namespace {

std::vector<std::string> names_of(const Source& source) {
  std::vector<std::string> names;
  for (const Category& category : source.categories) names.push_back(category.name);
  return names;
}

void require_class(const Source& source, const std::string& name, const char* option) {
  constexpr std::size_t kShown = 30;
  std::vector<std::string> names = names_of(source);
  if (std::find(names.begin(), names.end(), name) != names.end()) return;
  const std::string near = nearest_name(name, names);
  if (names.size() > kShown) names.resize(kShown);
  throw UsageError(fmt::format("{}: the source has no class '{}'{}; it has {}", option, name,
                               near.empty() ? "" : fmt::format(" (is '{}' meant?)", near),
                               join(names, ", ")));
}

}  // namespace

void rename_classes(Source& source,
                    const std::vector<std::pair<std::string, std::string>>& rename) {
  if (rename.empty()) return;
  std::unordered_map<std::string, std::string> new_name;
  for (const auto& [from, to] : rename) {
    require_class(source, from, "--rename");
    if (!new_name.emplace(from, to).second)
      throw UsageError(fmt::format("--rename: '{}' is renamed twice", from));
  }
  // A class that keeps its name has it first.
  std::unordered_map<std::string, std::int64_t> id_of_name;
  for (const Category& category : source.categories)
    if (!new_name.contains(category.name)) id_of_name.emplace(category.name, category.id);
  std::unordered_map<std::int64_t, std::int64_t> new_id;
  std::unordered_map<std::int64_t, std::string> old_name;
  std::vector<Category> kept;
  for (const Category& category : source.categories) {
    const auto renamed = new_name.find(category.name);
    const std::string& name = renamed == new_name.end() ? category.name : renamed->second;
    const std::int64_t id = id_of_name.emplace(name, category.id).first->second;
    new_id.emplace(category.id, id);
    old_name.emplace(category.id, category.name);
    if (id == category.id) kept.push_back({id, name});
  }
  source.categories = std::move(kept);
  for (Sample& sample : source.samples)
    for (Object& object : sample.objects) {
      const auto renamed = new_name.find(old_name.at(object.category));
      const bool caption_is_name = renamed != new_name.end() && object.caption == renamed->first;
      if (caption_is_name) object.caption = renamed->second;
      object.category = new_id.at(object.category);
    }
}

std::vector<std::pair<std::string, std::int64_t>> keep_classes(
    Source& source, const std::vector<std::string>& names) {
  if (names.empty()) return {};
  for (const std::string& name : names) require_class(source, name, "--classes");
  const std::unordered_set<std::string> wanted(names.begin(), names.end());
  std::unordered_set<std::int64_t> kept;
  for (const Category& category : source.categories)
    if (wanted.contains(category.name)) kept.insert(category.id);
  std::unordered_map<std::int64_t, std::int64_t> gone;
  for (Sample& sample : source.samples) {
    const auto goes = [&](const Object& object) {
      if (kept.contains(object.category)) return false;
      ++gone[object.category];
      return true;
    };
    std::erase_if(sample.objects, goes);
  }
  std::vector<std::pair<std::string, std::int64_t>> counts;
  for (const Category& category : source.categories)
    if (!kept.contains(category.id)) counts.emplace_back(category.name, gone[category.id]);
  std::erase_if(source.categories,
                [&](const Category& category) { return !kept.contains(category.id); });
  return counts;
}

}  // namespace muster::data
