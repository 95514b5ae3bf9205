// Ranks that share memory: the same collectives, the same bits, and errors instead of hangs.
#include <catch2/catch_test_macros.hpp>
#include <catch2/matchers/catch_matchers_string.hpp>

#include "base/error.h"
#include "sharding/collectives/collective_cases.h"
#include "sharding/collectives/shared_memory.h"
#include "sharding/toy.h"

using namespace muster;
using namespace muster::test;
using Catch::Matchers::ContainsSubstring;

namespace {

std::shared_ptr<Collective> on_node(std::shared_ptr<Collective> c, double timeout_s = 20,
                                    int per_node = 0) {
  return make_node(std::make_unique<Forwarding>(std::move(c)),
                   std::chrono::duration<double>(timeout_s), per_node);
}

// per_node 0: all ranks on one machine.
ToyRun shared_run(int world, std::int64_t bucket, bool overlap, int per_node = 0) {
  ToyRun run{.world = world, .options = toy_options(bucket, overlap), .steps = 8};
  run.wrap = [per_node](std::shared_ptr<Collective> c) {
    return on_node(std::move(c), 20, per_node);
  };
  return run;
}

void require_bits_of_threads(ToyRun run) {
  const State shared = train_toy(run);
  run.wrap = [](auto c) { return c; };
  REQUIRE(first_difference(train_toy(run), shared) == "");
}

// Rank 1 is told of another process's memory, after all have said where they are.
class Elsewhere final : public Forwarding {
 public:
  using Forwarding::Forwarding;
  void all_gather(std::span<std::byte> buffer) override {
    Forwarding::all_gather(buffer);
    if (rank() == 1) std::fill(buffer.begin(), buffer.end(), std::byte{1});
  }
};

}  // namespace

TEST_CASE("ranks of a node do what the interface says, in shared memory and outside", "[unit]") {
  for (const int size : {1, 2, 3, 5}) {
    on_ranks(size, [](std::shared_ptr<Collective> c) {
      const auto node = on_node(c);
      check_collective(*node);
      const std::size_t n = c->size();
      const std::size_t me = c->rank();
      const auto memory = node->shared_memory(n * n * 8);
      expect_equal("memory is shared", memory != nullptr, n > 1);
      if (n == 1) return;
      expect(std::all_of(memory->begin(), memory->end(),
                         [](std::byte b) { return b == std::byte{0}; }),
             "zeros at first");
      node->broadcast(*memory, 0);  // nobody writes before all have looked
      const std::span<std::byte> send = memory->subspan(me * n * 8, n * 8);
      for (int round = 0; round < 50; ++round) {
        const auto value = [&](std::size_t from, std::size_t to) {
          return static_cast<std::byte>(16 * from + to + round);
        };
        for (std::size_t r = 0; r < n; ++r)
          std::fill_n(send.begin() + static_cast<std::ptrdiff_t>(r * 8), 8, value(me, r));
        const std::int64_t before = node->stats().bytes_sent;
        node->all_to_all(send, {}, [&](Chunks chunks) {
          expect_equal("chunks", chunks.size(), n);
          for (std::size_t r = 0; r < n; ++r)
            for (int i = 0; i < 8; ++i) expect_equal("chunk", chunks[r][i], value(r, me));
        });
        expect_equal("bytes sent", node->stats().bytes_sent - before,
                     static_cast<std::int64_t>(8 * (n - 1)));
      }
      std::fill(send.begin(), send.end(), static_cast<std::byte>(me + 1));
      node->all_gather(*memory);
      for (std::size_t i = 0; i < memory->size(); ++i)
        expect_equal("all_gather", (*memory)[i], static_cast<std::byte>(i / (n * 8) + 1));
      node->broadcast(*memory, 0);
    });
  }
}

TEST_CASE("a node's ranks train to the bits of ranks that share nothing", "[unit]") {
  for (const int world : {2, 3, 4}) {
    for (const bool overlap : {false, true})
      require_bits_of_threads(shared_run(world, world == 3 ? 9000 : 1024, overlap));
  }
  ToyRun low = shared_run(3, 1500, true);
  low.type = at::kBFloat16;
  low.options.wire_dtype = WireDtype::kBFloat16;
  require_bits_of_threads(low);
  ToyRun local = shared_run(3, 4096, true);
  local.options.accumulation_budget_bytes = 5 * 4096;
  require_bits_of_threads(local);
  ToyRun native = shared_run(2, 4096, true);
  native.options.reduce = ReduceKind::kNative;
  require_bits_of_threads(native);
}

TEST_CASE("ranks of several nodes share memory with their own alone", "[unit]") {
  for (const auto& [size, per_node] : {std::pair(4, 2), {6, 2}, {6, 3}}) {
    on_ranks(size, [per_node = per_node](std::shared_ptr<Collective> c) {
      const auto node = on_node(c, 20, per_node);
      check_collective(*node);
      const int me = c->rank(), first = me / per_node * per_node;
      expect_equal("first near", node->near().first, first);
      expect_equal("near", node->near().count, per_node);
      const std::size_t chunk = 24;
      const auto memory = node->shared_memory(c->size() * chunk);
      if (me == first) std::fill(memory->begin(), memory->end(), static_cast<std::byte>(first + 1));
      node->read_near(memory->first(chunk), [&](Chunks views) {
        for (int i = 0; i < per_node; ++i)
          expect_equal("what the first wrote", views[i][0], static_cast<std::byte>(first + 1));
      });

      const std::int64_t before = node->stats().bytes_sent;
      std::fill_n(memory->begin() + static_cast<std::ptrdiff_t>(me * chunk), chunk,
                  static_cast<std::byte>(50 + me));
      node->all_gather(*memory);
      for (std::size_t i = 0; i < memory->size(); ++i)
        expect_equal("all_gather", (*memory)[i], static_cast<std::byte>(50 + i / chunk));
      const std::int64_t others = c->size() / per_node - 1;
      expect_equal("one chunk to each other node", node->stats().bytes_sent - before,
                   static_cast<std::int64_t>(chunk) * others);

      for (int root = 0; root < c->size(); ++root) {
        node->broadcast(*memory, root);  // nobody writes before all have looked
        if (me == root)
          std::fill(memory->begin(), memory->end(), static_cast<std::byte>(100 + root));
        node->broadcast(*memory, root);
        expect_equal("broadcast", memory->back(), static_cast<std::byte>(100 + root));
      }
    });
  }
}

TEST_CASE("several nodes train to the bits of ranks that share nothing", "[unit]") {
  for (const bool overlap : {false, true}) {
    require_bits_of_threads(shared_run(4, 1024, overlap, 2));
    require_bits_of_threads(shared_run(6, 9000, overlap, 3));
  }
  ToyRun low = shared_run(6, 1500, true, 2);
  low.type = at::kBFloat16;
  low.options.wire_dtype = WireDtype::kBFloat16;
  require_bits_of_threads(low);
  ToyRun local = shared_run(4, 4096, true, 2);
  local.options.accumulation_budget_bytes = 5 * 4096;
  require_bits_of_threads(local);
  for (const auto wire : {WireDtype::kFloat32, WireDtype::kBFloat16}) {
    ToyRun tree = shared_run(4, 4096, true, 2);
    tree.options.reduce = ReduceKind::kTree;
    tree.options.ranks_per_node = 2;
    tree.options.micro_batches_per_rank = tree.per_step;
    tree.options.wire_dtype = wire;
    require_bits_of_threads(tree);
  }
}

TEST_CASE("a node's ranks that do different things are all told", "[unit][fault]") {
  std::atomic<int> told = 0;
  on_ranks(3, [&](std::shared_ptr<Collective> c) {
    const auto node = on_node(c);
    const auto memory = node->shared_memory(300);
    try {
      if (c->rank() == 2)
        node->all_gather(*memory);
      else
        node->broadcast(*memory, 0);
    } catch (const CollectiveError& e) {
      told += std::string(e.what()).find(
                  "rank 0 is in broadcast of 300 bytes (collective 1), rank 2 in all_gather") !=
              std::string::npos;
    }
  });
  REQUIRE(told == 3);
}

TEST_CASE("a node's rank that never comes ends in an error that names it", "[unit][fault]") {
  std::atomic<int> told = 0;
  on_ranks(3, [&](std::shared_ptr<Collective> c) {
    const auto node = on_node(c, 0.3);
    const auto memory = node->shared_memory(300);
    if (c->rank() == 1) return;
    try {
      node->all_gather(*memory);
    } catch (const CollectiveError& e) {
      told += std::string(e.what()).find(
                  "all_gather of 300 bytes (collective 1): rank 1 did not come within 0.3 s") !=
              std::string::npos;
    }
  });
  REQUIRE(told == 2);
}

TEST_CASE("ranks that cannot reach one memory go on without", "[unit]") {
  on_ranks(3, [](std::shared_ptr<Collective> c) {
    const auto node = make_node(std::make_unique<Elsewhere>(c), std::chrono::seconds(20), 3);
    expect_equal("name", node->name(), c->name());
    expect(node->shared_memory(100) == nullptr, "no shared memory");
    check_collective(*c);
  });
}

TEST_CASE("pages given back are zeros on every rank, and a freed memory is shared no more",
          "[unit]") {
  on_ranks(2, [](std::shared_ptr<Collective> c) {
    const auto node = on_node(c);
    auto memory = node->shared_memory(1 << 20);
    if (c->rank() == 0) std::fill(memory->begin(), memory->end(), std::byte{7});
    node->broadcast(*memory, 0);
    expect_equal("written by rank 0", (*memory)[5000], std::byte{7});
    node->broadcast(*memory, 0);
    if (c->rank() == 1) release_pages(*memory);
    node->broadcast(*memory, 0);
    expect_equal("given back by rank 1", (*memory)[5000], std::byte{0});
    node->broadcast(*memory, 0);
    memory.reset();
    std::vector<std::byte> own(100, static_cast<std::byte>(c->rank()));
    node->broadcast(own, 1);
    expect_equal("moved through the inner collective", own[0], std::byte{1});
  });
}
