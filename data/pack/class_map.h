// Original id <-> 0..K-1 over the categories that occur, saved with every checkpoint (diary
// row D-001).
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "data/pack/sample.h"

namespace muster::data {

class ClassMap {
 public:
  ClassMap() = default;
  explicit ClassMap(std::vector<Category> active);  // sorted by original id
  std::int64_t to_index(std::int64_t original_id,
                        const std::string& where) const;  // throws DataError
  const Category& category(std::int64_t index) const;
  std::int64_t size() const { return static_cast<std::int64_t>(active_.size()); }
  // Index of the category whose name equals `caption` after trimming and case folding, or -1.
  std::int64_t find_name(const std::string& caption) const;
  std::string to_json() const;
  static ClassMap from_json(const std::string& text);

 private:
  std::vector<Category> active_;
  std::vector<std::string> folded_;  // names, trimmed and case-folded
};

}  // namespace muster::data
