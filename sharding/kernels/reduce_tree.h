// The order of `reduce: tree`: a fixed binary tree over the micro-batches of a step. Micro-batch j
// is leaf j; a node of the tree adds 2^i neighbouring leaves, from a multiple of 2^i on. Leaves
// arrive in order, and the owner of a slice keeps what a binary counter keeps: of t leaves one sum
// for each power of two in t, the oldest and largest first. At the end of the step they are added,
// the newest first. So the bits depend on the micro-batches alone.
//
// Rank r of N brings leaf k*N + r in round k. Where N is a multiple of 2^i, the 2^i ranks from a
// multiple of 2^i on are siblings in every round and may add among themselves first, and what
// travels on is one sum instead of 2^i gradients. That is done in phases: the ranks of a node
// exchange first, then circles of nodes. After each phase a rank holds the sums of 1/radix of the
// slices it had before, in fp32, and the last phase leaves its own slice.
#pragma once

#include <cstdint>
#include <vector>

namespace muster::sharding {

inline constexpr int kMostTreeRows = 32;  // that are added in one pass

// How many ranks exchange with each other in each phase; the product is `world_size`. All but the
// last are powers of two. One phase when all ranks are on one node or on one each, or no two of a
// node are siblings.
std::vector<int> reduce_radices(int world_size, int ranks_per_node);

// Rows [first, first + count), a power of two, are added as a tree. The sum is added to partial sum
// `at`, or written there when it is `fresh`; then `merges` times the last partial sum is added to
// the one before it and gone.
struct TreeStep {
  int first = 0, count = 0, at = 0, merges = 0;
  bool fresh = false;
};
// What adds `rows` leaves (or sums of equally many) to those of `leaves` before them.
std::vector<TreeStep> tree_steps(std::int64_t leaves, int rows);
int partial_sums(std::int64_t leaves);  // how many are kept of so many leaves
// The most that are kept at once in `rounds` of `rows` each.
int most_partial_sums(int rows, std::int64_t rounds);

// Of one window and rank: the buffers of all phases, and what it sends in all of them, of which
// `between` to ranks of other nodes.
struct TreeTraffic {
  std::int64_t buffers = 0, sent = 0, between = 0;
};
TreeTraffic tree_traffic(std::int64_t window_elements, int wire_bytes, int world_size,
                         int ranks_per_node);

}  // namespace muster::sharding
