#include "data/ingest/divide.h"

#include <algorithm>
#include <cmath>
#include <unordered_map>
#include <utility>

#include "base/disjoint_sets.h"
#include "base/rng.h"

namespace muster::data {

std::vector<bool> draw_validation(const std::vector<std::vector<std::string>>& pictures,
                                  double fraction, std::uint64_t seed) {
  DisjointSets groups(pictures.size());
  std::unordered_map<std::string, std::size_t> shown_by;
  for (std::size_t i = 0; i < pictures.size(); ++i)
    for (const std::string& picture : pictures[i])
      groups.join(shown_by.emplace(picture, i).first->second, i);
  // A group is drawn by the least checksum of its pictures; samples of words alone by their place.
  std::unordered_map<std::size_t, std::string> key_of;
  for (std::size_t i = 0; i < pictures.size(); ++i) {
    std::string& key = key_of[groups.root(i)];
    for (const std::string& picture : pictures[i])
      if (key.empty() || picture < key) key = picture;
  }
  std::vector<std::pair<std::uint64_t, std::size_t>> drawn;  // rank, root
  for (std::size_t i = 0; i < pictures.size(); ++i) {
    if (groups.root(i) != i) continue;
    const std::string& key = key_of[i];
    drawn.emplace_back(seed_of(seed, key.empty() ? static_cast<std::uint64_t>(i) : hash_name(key)),
                       i);
  }
  std::sort(drawn.begin(), drawn.end());
  const auto all = static_cast<std::int64_t>(drawn.size());
  const std::int64_t wanted = std::llround(fraction * static_cast<double>(all));
  const std::int64_t count = std::clamp<std::int64_t>(wanted, std::min<std::int64_t>(1, all - 1),
                                                      std::max<std::int64_t>(all - 1, 0));
  std::vector<bool> root_is_validation(pictures.size(), false);
  for (std::int64_t i = 0; i < count; ++i)
    root_is_validation[drawn[static_cast<std::size_t>(i)].second] = true;
  std::vector<bool> validation(pictures.size(), false);
  for (std::size_t i = 0; i < pictures.size(); ++i)
    validation[i] = root_is_validation[groups.root(i)];
  return validation;
}

}  // namespace muster::data
