#include "model/head/class_trie.h"

#include <fmt/core.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <set>

#include "base/error.h"

namespace muster::model {
namespace {

using Ids = std::vector<std::int64_t>;
using Choices = std::map<Ids, std::set<std::int64_t>>;  // prefix -> ids that follow it

// The id after the first `length` ids of a name.
std::int64_t next_id(const Ids& name, std::size_t length, std::int64_t end_token) {
  return length < name.size() ? name[length] : end_token;
}

Choices all_choices(const std::vector<Ids>& names, std::int64_t end_token) {
  Choices choices;
  for (const Ids& name : names) {
    for (std::size_t length = 0; length <= name.size(); ++length) {
      const Ids prefix(name.begin(), name.begin() + static_cast<std::ptrdiff_t>(length));
      choices[prefix].insert(next_id(name, length, end_token));
    }
  }
  return choices;
}

// Where only one id can follow nothing is to be told.
std::vector<ClassTrie::Branching> branchings_of(const Choices& choices) {
  std::vector<ClassTrie::Branching> branchings;
  for (const auto& [prefix, ids] : choices)
    if (ids.size() > 1) branchings.push_back({prefix, Ids(ids.begin(), ids.end())});
  std::ranges::stable_sort(branchings, {}, [](const auto& b) { return b.prefix.size(); });
  return branchings;
}

bool starts_with(const Ids& name, const Ids& prefix) {
  return name.size() >= prefix.size() && std::equal(prefix.begin(), prefix.end(), name.begin());
}

at::Tensor paths_of(const std::vector<Ids>& names,
                    const std::vector<ClassTrie::Branching>& branchings, std::int64_t end_token) {
  std::int64_t columns = 0;
  for (const ClassTrie::Branching& b : branchings)
    columns += static_cast<std::int64_t>(b.choices.size());
  at::Tensor paths = at::zeros({static_cast<std::int64_t>(names.size()), columns});
  auto cells = paths.accessor<float, 2>();
  std::int64_t first = 0;
  for (const ClassTrie::Branching& b : branchings) {
    for (std::size_t i = 0; i < names.size(); ++i) {
      if (!starts_with(names[i], b.prefix)) continue;
      const auto choice =
          std::ranges::lower_bound(b.choices, next_id(names[i], b.prefix.size(), end_token));
      cells[static_cast<std::int64_t>(i)][first + (choice - b.choices.begin())] = 1;
    }
    first += static_cast<std::int64_t>(b.choices.size());
  }
  return paths;
}

}  // namespace

ClassTrie::ClassTrie(const std::vector<Ids>& names, std::int64_t end_token) : names_(names) {
  for (std::size_t i = 0; i < names.size(); ++i) {
    if (names[i].empty()) throw ConfigError(fmt::format("class {} has a name without tokens", i));
    const auto [other, added] = index_.emplace(names[i], i);
    if (!added) {
      throw ConfigError(
          fmt::format("classes {} and {} have the same name (token ids {}): closed labels need "
                      "names that differ",
                      other->second, i, fmt::join(names[i], ", ")));
    }
  }
  branchings_ = branchings_of(all_choices(names, end_token));
  paths_ = paths_of(names, branchings_, end_token);
}

std::int64_t ClassTrie::index_of(const Ids& ids) const {
  const auto found = index_.find(ids);
  if (found == index_.end()) {
    throw DataError(
        fmt::format("a label with the token ids [{}] is none of the {} class names: with "
                    "detection.labels: closed every caption is a class name",
                    fmt::join(ids, ", "), size()));
  }
  return found->second;
}

}  // namespace muster::model
