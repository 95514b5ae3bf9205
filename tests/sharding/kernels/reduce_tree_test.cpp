#include "sharding/kernels/reduce_tree.h"

#include <ATen/ATen.h>

#include <bit>
#include <catch2/catch_test_macros.hpp>
#include <numeric>

#include "sharding/engine_core.h"
#include "sharding/kernels/kernels.h"
#include "sharding/toy.h"

using namespace muster::test;

namespace {

using Floats = std::vector<float>;

// The definition: nodes of 2^i leaves from multiples of 2^i on; what is left over, newest first.
float tree_of(const Floats& leaves) {
  if (leaves.size() == 1) return leaves[0];
  const std::size_t left = std::bit_floor(leaves.size() - 1);
  const auto middle = leaves.begin() + static_cast<std::ptrdiff_t>(left);
  return tree_of({leaves.begin(), middle}) + tree_of({middle, leaves.end()});
}

// The same by the steps of rounds of `rows` leaves; counts how many sums were kept at most.
float tree_in_rounds(const Floats& leaves, int rows, int& most) {
  Floats kept;
  for (std::size_t done = 0; done < leaves.size(); done += static_cast<std::size_t>(rows)) {
    for (const TreeStep& step : tree_steps(static_cast<std::int64_t>(done), rows)) {
      const auto first = leaves.begin() + static_cast<std::ptrdiff_t>(done) + step.first;
      const float sum = tree_of({first, first + step.count});
      if (step.fresh)
        kept.push_back(sum);
      else
        kept[step.at] += sum;
      most = std::max(most, static_cast<int>(kept.size()));
      for (int i = 0; i < step.merges; ++i) {
        kept[kept.size() - 2] += kept.back();
        kept.pop_back();
      }
    }
    expect_equal("partial sums", static_cast<int>(kept.size()),
                 partial_sums(static_cast<std::int64_t>(done) + rows));
  }
  for (; kept.size() > 1; kept.pop_back()) kept[kept.size() - 2] += kept.back();
  return kept[0];
}

Floats random_floats(std::size_t count) {
  const at::Tensor values = random_tensor({static_cast<std::int64_t>(count)}, 3, 1);
  return {values.const_data_ptr<float>(), values.const_data_ptr<float>() + count};
}

}  // namespace

TEST_CASE("a tree has the same bits whatever the leaves of a round", "[unit]") {
  for (const int leaves : {1, 2, 3, 6, 12, 24, 48, 96, 240}) {
    const Floats values = random_floats(static_cast<std::size_t>(leaves));
    for (int rows = 1; rows <= leaves; ++rows) {
      if (leaves % rows != 0) continue;
      INFO(leaves << " leaves, " << rows << " a round");
      int most = 0;
      CHECK(tree_in_rounds(values, rows, most) == tree_of(values));
      CHECK(most == most_partial_sums(rows, leaves / rows));
    }
  }
  const Floats values = random_floats(48);
  CHECK(tree_of(values) != std::accumulate(values.begin(), values.end(), 0.0F));
}

TEST_CASE("a tree keeps a sum for each power of two", "[unit]") {
  CHECK(most_partial_sums(8, 1) == 1);
  CHECK(most_partial_sums(8, 2) == 1);
  CHECK(most_partial_sums(8, 4) == 2);
  CHECK(most_partial_sums(8, 8) == 3);
  CHECK(most_partial_sums(1, 16) == 4);
  CHECK(most_partial_sums(3, 1) == 2);
  CHECK(most_partial_sums(32, 1) == 1);
  CHECK(most_partial_sums(64, 1) == 1);  // two times 32 rows, which are added at once
}

TEST_CASE("ranks exchange within nodes first, then in circles of nodes", "[unit]") {
  using Radices = std::vector<int>;
  CHECK(reduce_radices(1, 1) == Radices{1});
  CHECK(reduce_radices(8, 8) == Radices{8});
  CHECK(reduce_radices(8, 1) == Radices{8});
  CHECK(reduce_radices(16, 8) == Radices{8, 2});
  CHECK(reduce_radices(24, 8) == Radices{8, 3});
  CHECK(reduce_radices(12, 6) == Radices{2, 6});
  CHECK(reduce_radices(12, 3) == Radices{12});  // no two of three are siblings in every round
  CHECK(reduce_radices(10, 4) == Radices{10});  // the last node is not whole
  CHECK(reduce_radices(4096, 8) == Radices{8, 16, 32});
}

TEST_CASE("between nodes a tree sends what a native reduce-scatter does", "[unit]") {
  const std::int64_t elements = 1 << 20;
  for (const int nodes : {2, 8, 32, 512}) {
    const TreeTraffic tree = tree_traffic(elements, 4, 8 * nodes, 8);
    CHECK(tree.between * 8 <= elements * 4);  // what leaves a node: at most the window, once
    CHECK(tree.between * 8 >= elements * 4 * (nodes - 1) / nodes);
    const TreeTraffic flat = tree_traffic(elements, 4, 8 * nodes, 1);
    CHECK(flat.sent == elements / (8 * nodes) * 4 * (8 * nodes - 1));
  }
}

TEST_CASE("rows are added as a tree; zeros are +0 however many come at once", "[unit]") {
  const auto kernels = make_cpu_kernels();
  for (const at::ScalarType type : {at::kFloat, at::kBFloat16}) {
    at::Tensor parts = random_tensor({8, 5003}, 8, 1).to(type);
    parts.narrow(1, 100, 50).fill_(-0.0);
    std::vector<const std::byte*> rows;
    for (int r = 0; r < 8; ++r) rows.push_back(bytes_of(parts[r]).data());
    const auto leaf = [&](int r) { return parts[r].to(at::kFloat) + 0.0; };
    const auto two = [&](int r) { return leaf(r) + leaf(r + 1); };
    const at::Tensor four = two(0) + two(2), eight = four + (two(4) + two(6));
    at::Tensor sum = at::full({5003}, NAN);
    kernels->add_tree(std::span(rows).first(4), type, sum, true);
    CHECK((raw_bytes(sum) == raw_bytes(four)));
    kernels->add_tree(std::span(rows).last(4), type, sum, false);
    CHECK((raw_bytes(sum) == raw_bytes(eight)));
    kernels->add_tree(rows, type, sum, true);
    CHECK((raw_bytes(sum) == raw_bytes(eight)));
    kernels->add_tree(std::span(rows).first(1), type, sum, true);
    CHECK((raw_bytes(sum) == raw_bytes(leaf(0))));
  }
}
