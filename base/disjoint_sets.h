// Numbers 0 .. count-1 in sets that grow together: union-find with halved paths (Tarjan and van
// Leeuwen, JACM 31(2), 1984).
#pragma once

#include <algorithm>
#include <cstddef>
#include <numeric>
#include <vector>

namespace muster {

class DisjointSets {
 public:
  explicit DisjointSets(std::size_t count) : parent_(count) {
    std::iota(parent_.begin(), parent_.end(), std::size_t{0});
  }

  // The least number of i's set.
  std::size_t root(std::size_t i) {
    while (parent_[i] != i) {
      parent_[i] = parent_[parent_[i]];
      i = parent_[i];
    }
    return i;
  }

  void join(std::size_t a, std::size_t b) {
    const std::size_t root_a = root(a);
    const std::size_t root_b = root(b);
    parent_[std::max(root_a, root_b)] = std::min(root_a, root_b);
  }

  std::size_t size() const { return parent_.size(); }

 private:
  std::vector<std::size_t> parent_;
};

}  // namespace muster
