#include "data/sources/picture_table.h"

namespace muster::data {

std::int64_t PictureTable::index_of(std::string_view path) {
  const auto next = static_cast<std::uint32_t>(paths_.size());
  const auto [index, added] = by_path_.emplace(digest_of(path), next);
  if (added) paths_.add(path);
  return index;
}

}  // namespace muster::data
