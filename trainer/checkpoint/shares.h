// Who of several ranks does what, when each does about as much as the others.
#pragma once

#include <cstdint>
#include <vector>

namespace muster::trainer {

inline constexpr int kAnyRank = -1;

// The rank of every piece: a piece's wish, where it has one, else the rank with the least so far,
// large pieces first. A pure function: every rank computes the same. `wishes` is empty, or holds a
// rank or kAnyRank per piece.
std::vector<int> even_shares(const std::vector<std::int64_t>& bytes, int ranks,
                             const std::vector<int>& wishes = {});

}  // namespace muster::trainer
