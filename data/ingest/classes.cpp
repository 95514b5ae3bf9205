#include "data/ingest/classes.h"

#include <fmt/core.h>

#include <algorithm>

#include "base/error.h"
#include "base/text.h"

namespace muster::data {
namespace {

void require_class(const std::vector<Category>& categories, const std::string& name,
                   const char* option) {
  constexpr std::size_t kShown = 30;
  std::vector<std::string> names;
  for (const Category& category : categories) names.push_back(category.name);
  if (std::find(names.begin(), names.end(), name) != names.end()) return;
  const std::string near = nearest_name(name, names);
  if (names.size() > kShown) names.resize(kShown);
  throw UsageError(fmt::format("{}: the source has no class '{}'{}; it has {}", option, name,
                               near.empty() ? "" : fmt::format(" (is '{}' meant?)", near),
                               join(names, ", ")));
}

}  // namespace

ClassChoice::ClassChoice(std::vector<Category>& categories,
                         const std::vector<std::pair<std::string, std::string>>& rename,
                         const std::vector<std::string>& kept) {
  if (!rename.empty()) rename_classes(categories, rename);
  if (!kept.empty()) keep_classes(categories, kept);
}

void ClassChoice::rename_classes(std::vector<Category>& categories,
                                 const std::vector<std::pair<std::string, std::string>>& rename) {
  std::unordered_map<std::string, std::string> new_name;
  for (const auto& [from, to] : rename) {
    require_class(categories, from, "--rename");
    if (!new_name.emplace(from, to).second)
      throw UsageError(fmt::format("--rename: '{}' is renamed twice", from));
  }
  // A class that keeps its name has it first.
  std::unordered_map<std::string, std::int64_t> id_of_name;
  for (const Category& category : categories)
    if (!new_name.contains(category.name)) id_of_name.emplace(category.name, category.id);
  std::vector<Category> kept;
  for (const Category& category : categories) {
    const auto change = new_name.find(category.name);
    const bool changes = change != new_name.end();
    const std::string& name = changes ? change->second : category.name;
    const std::int64_t id = id_of_name.emplace(name, category.id).first->second;
    renamed_.emplace(category.id, Renamed{id, changes, category.name, name});
    if (id == category.id) kept.push_back({id, name});
  }
  categories = std::move(kept);
}

void ClassChoice::keep_classes(std::vector<Category>& categories,
                               const std::vector<std::string>& names) {
  for (const std::string& name : names) require_class(categories, name, "--classes");
  const std::unordered_set<std::string> wanted(names.begin(), names.end());
  for (const Category& category : categories) {
    if (wanted.contains(category.name))
      kept_.insert(category.id);
    else
      gone_.push_back(category);
  }
  std::erase_if(categories, [&](const Category& category) { return !kept_.contains(category.id); });
  keeps_all_ = false;
}

void ClassChoice::apply(Sample& sample) {
  if (!renamed_.empty())
    for (Object& object : sample.objects) {
      const Renamed& renamed = renamed_.at(object.category);
      if (renamed.changes && object.caption == renamed.from) object.caption = renamed.to;
      object.category = renamed.id;
    }
  if (keeps_all_) return;
  std::erase_if(sample.objects, [&](const Object& object) {
    if (kept_.contains(object.category)) return false;
    ++boxes_gone_[object.category];
    return true;
  });
}

std::vector<std::pair<std::string, std::int64_t>> ClassChoice::left_out() const {
  std::vector<std::pair<std::string, std::int64_t>> counts;
  for (const Category& category : gone_) {
    const auto boxes = boxes_gone_.find(category.id);
    counts.emplace_back(category.name, boxes == boxes_gone_.end() ? 0 : boxes->second);
  }
  return counts;
}

}  // namespace muster::data
