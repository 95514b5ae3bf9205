// A parameter that lies whole in one rank's shard can be read from that rank's masters.
#include <ATen/ATen.h>

#include <catch2/catch_test_macros.hpp>

#include "sharding/layout/flat_space.h"
#include "sharding/state/shard_store.h"

using namespace muster::sharding;

TEST_CASE("a sole owner holds every element of the parameter, at the place it says", "[unit]") {
  std::vector<Slot> parameters;
  for (const std::int64_t numel : {1, 64, 100, 500, 64, 2000, 3})
    parameters.push_back(
        {.name = "p" + std::to_string(parameters.size()), .shape = {numel}, .numel = numel});
  const FlatSpace space(parameters);
  for (const int world : {1, 2, 3}) {
    for (const std::int64_t bucket : {64, 192, 1024, 1 << 20}) {
      const ShardLayout layout(space.elements(), world, bucket);
      for (const Slot& slot : space.slots()) {
        CAPTURE(world, bucket, slot.name);
        std::vector<std::pair<int, Segment>> pieces;
        for (int rank = 0; rank < world; ++rank) {
          for (const Segment& segment : owned_segments(space, layout, rank)) {
            if (segment.param == slot.param) pieces.emplace_back(rank, segment);
          }
        }
        const auto owner = sole_owner(layout, slot);
        REQUIRE(owner.has_value() == (pieces.size() == 1));
        if (!owner) continue;
        CHECK(owner->rank == pieces[0].first);
        CHECK(owner->shard_begin == pieces[0].second.shard_begin);
      }
    }
  }
}

TEST_CASE("a parameter read from its master has the parameter's bits", "[unit]") {
  const at::Tensor master = at::randn({64 + 6});
  ShardTensors tensors{.master = master, .exp_avg = {}, .exp_avg_sq = {}, .ema = {}};
  const Slot slot{.name = "p", .shape = {2, 3}, .numel = 6};
  const at::Tensor part = master.narrow(0, 64, 6).view({2, 3});
  CHECK(at::equal(parameter_in(tensors, slot, 64, at::kFloat), part));
  CHECK(at::equal(parameter_in(tensors, slot, 64, at::kHalf), part.to(at::kHalf)));
  // To nearest, ties away from zero, as the engine rounds them.
  const at::Tensor nearest =
      part.contiguous().view(at::kInt).add(0x8000).bitwise_and(-65536).view(at::kFloat);
  const at::Tensor halves = parameter_in(tensors, slot, 64, at::kBFloat16);
  CHECK(halves.scalar_type() == at::kBFloat16);
  CHECK(at::equal(halves.to(at::kFloat), nearest));
  // Where a mean is kept, weights are the mean.
  tensors.ema = master + 1;
  const at::Tensor mean = (part + 1).to(at::kBFloat16);
  CHECK(at::equal(parameter_in(tensors, slot, 64, at::kBFloat16), mean));
}
