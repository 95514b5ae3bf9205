// `reduce: tree`: the same micro-batches give the same bits whatever the world, its nodes, bucket
// size and overlap; what crosses between nodes and what is held is what the plan says.
#include <catch2/catch_test_macros.hpp>

#include "sharding/collectives/collective_cases.h"
#include "sharding/kernels/reduce_tree.h"
#include "sharding/tensor_meter.h"
#include "sharding/toy.h"

using namespace muster::test;

namespace {

ToyRun tree_run(int world, int per_node, std::int64_t per_step = 24) {
  ToyRun run{.world = world, .steps = 4, .per_step = per_step};
  run.options.reduce = ReduceKind::kTree;
  run.options.ranks_per_node = per_node;
  run.options.micro_batches_per_rank = (per_step + world - 1) / world;
  return run;
}

// Shows the slices of the ranks one place further on.
class Turned final : public Forwarding {
 public:
  using Forwarding::Forwarding;
  void all_to_all(std::span<const std::byte> send, std::span<std::byte> receive) override {
    inner_->all_to_all(send, receive);
    const auto chunk = static_cast<std::ptrdiff_t>(receive.size()) / size();
    std::rotate(receive.begin(), receive.begin() + chunk, receive.end());
  }
};

struct Seen {
  std::int64_t between = 0;  // nodes, by rank 0 and in one step
  EngineBytes held, planned;
  TransientBytes peak;
};

Seen see(int world, int per_node, std::int64_t rounds) {
  const ToyRun run = tree_run(world, per_node, rounds * world);
  Seen seen;
  on_ranks(world, [&](std::shared_ptr<Collective> collective) {
    const Toy toy;
    ZeroEngine engine(toy_registry(toy), collective, run.options);
    toy_step(engine, toy, 0, run.per_step);
    if (collective->rank() == 0)
      seen = {engine.bytes_between_nodes(), engine.bytes(), engine.planned_bytes(),
              engine.step_peak()};
    engine.await_all();
  });
  return seen;
}

ShardLayout toy_layout(int world) {
  const Toy toy;
  const ParamRegistry registry = toy_registry(toy);
  return {FlatSpace(registry).elements(), world, toy_options().bucket_bytes / 4};
}

}  // namespace

TEST_CASE("a tree of gradients has the same bits on any world and any nodes", "[unit]") {
  const State expected = train_toy(tree_run(1, 1));
  const auto try_out = [&](ToyRun run, std::int64_t bucket, bool overlap) {
    INFO(run.world << " ranks, " << run.options.ranks_per_node << " a node, bucket " << bucket
                   << (overlap ? " overlap" : ""));
    run.options.bucket_bytes = bucket;
    run.options.overlap = overlap;
    CHECK(first_difference(expected, train_toy(run)) == "");
  };
  try_out(tree_run(1, 1), 1024, true);
  for (const int per_node : {1, 2}) {
    try_out(tree_run(2, per_node), 4096, true);
    try_out(tree_run(4, per_node), 20000, false);
    try_out(tree_run(8, per_node), 9000, true);
  }
  try_out(tree_run(8, 4), 4096, true);
  try_out(tree_run(8, 4), 1 << 20, false);
  try_out(tree_run(12, 6), 4096, true);
  try_out(tree_run(3, 1), 4096, true);
  try_out(tree_run(6, 2), 20000, true);
  try_out(tree_run(5, 1), 4096, true);  // the last round has empty micro-batches
}

TEST_CASE("a tree in three phases has the bits of one rank", "[unit]") {
  REQUIRE(reduce_radices(80, 2) == std::vector<int>{2, 8, 5});
  ToyRun one = tree_run(1, 1, 80), many = tree_run(80, 2, 80);
  one.steps = many.steps = 2;
  CHECK(first_difference(train_toy(one), train_toy(many)) == "");
}

TEST_CASE("a tree with a bf16 wire, and when nobody says which backward is the last", "[unit]") {
  const auto low = [](ToyRun run) {
    run.type = at::kBFloat16;
    run.options.wire_dtype = WireDtype::kBFloat16;
    run.options.bucket_bytes = 1500 * run.world;
    run.tell_last = run.world % 2 == 0;
    return run;
  };
  const State expected = train_toy(low(tree_run(1, 1)));
  CHECK(first_difference(expected, train_toy(low(tree_run(4, 2)))) == "");
  CHECK(first_difference(expected, train_toy(low(tree_run(8, 4)))) == "");
  CHECK(first_difference(expected, train_toy(low(tree_run(3, 1)))) == "");
}

TEST_CASE("a tree adds otherwise than one after the other, from three micro-batches on", "[unit]") {
  ToyRun ordered = tree_run(2, 1);
  ordered.options.reduce = ReduceKind::kOrdered;
  CHECK(first_difference(train_toy(ordered), train_toy(tree_run(2, 1))) != "");
  ordered.per_step = 2;
  CHECK(first_difference(train_toy(ordered), train_toy(tree_run(2, 1, 2))) == "");
}

TEST_CASE("negative control: leaves in other places change a tree's bits", "[unit]") {
  ToyRun turned = tree_run(4, 1);
  turned.wrap = [](std::shared_ptr<Collective> c) {
    return std::make_shared<Turned>(std::move(c));
  };
  CHECK(train_toy(turned) != train_toy(tree_run(4, 1)));
}

TEST_CASE("a tree's bytes between nodes, sums and buffers are those of the plan", "[unit]") {
  for (const int per_node : {1, 2, 4}) {
    for (const std::int64_t rounds : {1, 4, 8}) {
      INFO(per_node << " ranks a node, " << rounds << " micro-batches each");
      const Seen seen = see(8, per_node, rounds);
      const ShardLayout layout = toy_layout(8);
      std::int64_t between = 0;
      for (int w = 0; w < layout.num_windows(); ++w)
        between += tree_traffic(layout.window(w).elements, 4, 8, per_node).between;
      CHECK(seen.between == between * rounds);
      expect_equal("bytes held", seen.held, seen.planned);
      CHECK(seen.held.partial_sums == layout.shard_elements() * 4 *
                                          (rounds == 1   ? 0
                                           : rounds == 4 ? 1
                                                         : 2));
      CHECK(seen.peak.receive == tree_traffic(layout.window_elements(), 4, 8, per_node).buffers);
    }
  }
  // An eighth of the window instead of seven eighths; all-to-all would send four eighths.
  CHECK(see(8, 4, 1).between * 7 == see(8, 1, 1).between);
}

TEST_CASE("more micro-batches than a tree was made for are refused", "[unit][fault]") {
  ToyRun run = tree_run(1, 1, 8);
  run.options.micro_batches_per_rank = 2;
  CHECK_THROWS(train_toy(run));
}
