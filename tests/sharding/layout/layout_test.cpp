// Law 9's ground: every element has one owner, whatever the shapes, the world and the bucket size.
#include <catch2/catch_test_macros.hpp>

#include "base/error.h"
#include "sharding/layout/flat_space.h"
#include "sharding/plan/memory_plan.h"
#include "sharding/toy.h"

using namespace muster;
using namespace muster::sharding;

namespace {

FlatSpace random_space(Rng& rng) {
  std::vector<Slot> slots;
  const std::int64_t count = 1 + rng.below(12);
  for (std::int64_t i = 0; i < count; ++i) {
    const std::int64_t sizes[]{0, 1, 7, 64, 65, 97, 1000 + rng.below(3000), 20011};
    const std::int64_t numel = sizes[rng.below(8)];
    slots.push_back({.name = "p" + std::to_string(i), .shape = {numel}, .numel = numel});
  }
  return FlatSpace(std::move(slots));
}

// How many ranks own each element of each parameter, and of each place in their shards.
void count_owners(const FlatSpace& space, const ShardLayout& layout) {
  std::vector<std::vector<int>> owners;
  for (std::size_t p = 0; p < space.slots().size(); ++p) {
    owners.emplace_back(space.of_param(static_cast<int>(p)).numel);
  }
  for (int rank = 0; rank < layout.world_size(); ++rank) {
    std::int64_t shard_end = 0;
    for (const Segment& s : owned_segments(space, layout, rank)) {
      REQUIRE(s.shard_begin >= shard_end);
      REQUIRE(s.param_begin % 16 == 0);  // the norm's blocks never straddle ranks
      shard_end = s.shard_begin + s.count;
      for (std::int64_t i = 0; i < s.count; ++i) ++owners[s.param][s.param_begin + i];
    }
    REQUIRE(shard_end <= layout.shard_elements());
  }
  for (const auto& param : owners) {
    REQUIRE(std::all_of(param.begin(), param.end(), [](int n) { return n == 1; }));
  }
}

}  // namespace

TEST_CASE("every element has exactly one owner, for any shapes, world size and bucket size",
          "[unit]") {
  Rng rng(3);
  for (int round = 0; round < 25; ++round) {
    const FlatSpace space = random_space(rng);
    for (int world = 1; world <= 9; ++world) {
      for (const std::int64_t bucket :
           {std::int64_t{1}, 64 + rng.below(5000), std::int64_t{1} << 40}) {
        const ShardLayout layout(space.elements(), world, bucket);
        std::int64_t end = 0;
        for (int w = 0; w < layout.num_windows(); ++w) {
          const Window window = layout.window(w);
          REQUIRE(window.begin == end);
          REQUIRE(window.elements == window.slice * world);
          REQUIRE(window.slice % kAlignment == 0);
          end += window.elements;
        }
        REQUIRE(end == layout.padded_elements());
        REQUIRE(end - space.elements() < kAlignment * world);
        count_owners(space, layout);
      }
    }
  }
}

TEST_CASE("the flat space is in reverse registration order with aligned starts", "[unit]") {
  const FlatSpace space(
      {{.name = "a", .shape = {10}, .numel = 10}, {.name = "b", .shape = {65}, .numel = 65}});
  REQUIRE(space.slots()[0].name == "b");
  REQUIRE(space.of_param(0).offset == 128);
  REQUIRE(space.elements() == 192);
  const std::int64_t numels[]{10, 65};
  REQUIRE(flat_elements(numels) == 192);
}

TEST_CASE("groups go by prefix, in order; a stray parameter is named", "[unit]") {
  const test::Toy toy;
  const ParamRegistry registry = test::toy_registry(toy);
  REQUIRE(registry.frozen().size() == 1);
  REQUIRE_FALSE(registry.frozen()[0].tensor.requires_grad());
  for (const Param& p : registry.trainable()) {
    REQUIRE(p.tensor.requires_grad());
    if (p.name == "visual.merger.weight") REQUIRE(registry.groups()[p.group].name == "merger");
    if (p.name == "model.embed") REQUIRE(p.aliases == std::vector<std::string>{"lm_head"});
    if (p.name == "model.up.bias") REQUIRE(p.weight_decay == 0);
    if (p.name == "model.up.weight") REQUIRE(p.weight_decay == 0.05);
  }
  auto stray = toy.named;
  stray.push_back({"adapter.weight", at::ones({2, 2})});
  try {
    const ParamRegistry accepted(stray, test::toy_groups(), false);
    FAIL("a stray parameter was accepted");
  } catch (const ConfigError& e) {
    REQUIRE(std::string(e.what()).find("adapter.weight") != std::string::npos);
  }
  auto twins = toy.named;
  twins.push_back({"model.twin", toy.tensor("model.embed").view(-1)});
  REQUIRE_THROWS_AS(ParamRegistry(twins, test::toy_groups(), false), ConfigError);
}
