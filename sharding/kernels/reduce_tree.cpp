#include "sharding/kernels/reduce_tree.h"

#include <algorithm>
#include <bit>
#include <numeric>

namespace muster::sharding {
namespace {

constexpr int kCircle = 16;  // nodes that exchange in one phase, where there are many

std::int64_t lowest_bit(std::int64_t value) { return value & -value; }

}  // namespace

std::vector<int> reduce_radices(int world_size, int ranks_per_node) {
  std::vector<int> radices;
  int rest = world_size;
  const auto take = [&](int radix) {
    radices.push_back(radix);
    rest /= radix;
  };
  const bool whole_nodes = world_size % ranks_per_node == 0 && world_size > ranks_per_node;
  if (const auto siblings = static_cast<int>(lowest_bit(ranks_per_node));
      whole_nodes && siblings > 1)
    take(std::min(siblings, kMostTreeRows));
  // Fewer messages: circles of circles. At the loop's entry the ranks of `rest` circles are left.
  while (!radices.empty() && rest > 2 * kCircle && rest % 2 == 0) take(std::gcd(rest, kCircle));
  take(rest);
  return radices;
}

std::vector<TreeStep> tree_steps(std::int64_t leaves, int rows) {
  std::vector<TreeStep> steps;
  // At the loop's entry the rows before `first` are in the partial sums of `leaves`.
  for (int first = 0; first < rows;) {
    const std::int64_t aligned = leaves == 0 ? kMostTreeRows : lowest_bit(leaves);
    const auto left =
        static_cast<std::int64_t>(std::bit_floor(static_cast<unsigned>(rows - first)));
    const auto count = static_cast<int>(std::min<std::int64_t>({aligned, left, kMostTreeRows}));
    const int partners = std::countr_one(static_cast<std::uint64_t>(leaves / count));
    const int kept = partial_sums(leaves);
    steps.push_back({.first = first,
                     .count = count,
                     .at = partners > 0 ? kept - 1 : kept,
                     .merges = std::max(partners - 1, 0),
                     .fresh = partners == 0});
    first += count;
    leaves += count;
  }
  return steps;
}

int partial_sums(std::int64_t leaves) { return std::popcount(static_cast<std::uint64_t>(leaves)); }

int most_partial_sums(int rows, std::int64_t rounds) {
  int most = 1;
  for (std::int64_t round = 0; round < rounds; ++round)
    for (const TreeStep& step : tree_steps(round * rows, rows)) most = std::max(most, step.at + 1);
  return most;
}

TreeTraffic tree_traffic(std::int64_t window_elements, int wire_bytes, int world_size,
                         int ranks_per_node) {
  TreeTraffic traffic;
  const std::vector<int> radices = reduce_radices(world_size, ranks_per_node);
  std::int64_t elements = window_elements, bytes = wire_bytes;
  int stride = 1;  // between the ranks of a circle
  for (const int radix : radices) {
    const std::int64_t chunk = elements / radix * bytes;
    const int near = std::min(radix, std::max(1, ranks_per_node / stride));
    traffic.sent += chunk * (radix - 1);
    traffic.between += chunk * (radix - near);
    traffic.buffers += elements * bytes;
    elements /= radix;
    stride *= radix;
    if (stride == world_size) break;
    traffic.buffers += chunk * radix + elements * 4;  // packed for the exchange; the sums
    bytes = 4;
  }
  if (world_size == 1) traffic.buffers = 0;
  return traffic;
}

}  // namespace muster::sharding
