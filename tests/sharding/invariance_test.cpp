// Law 9: the same micro-batches give the same bits, whatever the bucket size, overlap and world
// size.
#include <catch2/catch_test_macros.hpp>

#include "sharding/collectives/collective_cases.h"
#include "sharding/toy.h"

using namespace muster::test;

namespace {

void require_same(const State& a, const State& b, const std::string& what) {
  INFO(what);
  REQUIRE(a.size() == b.size());
  for (const auto& [name, bytes] : a) {
    INFO(name);
    REQUIRE(b.contains(name));
    REQUIRE((bytes == b.at(name)));
  }
}

// Hands the ranks' slices over in the wrong order.
class Reversed final : public Forwarding {
 public:
  using Forwarding::Forwarding;
  void all_to_all(std::span<const std::byte> send, std::span<std::byte> receive) override {
    std::vector<std::byte> right(receive.size());
    inner_->all_to_all(send, right);
    const std::size_t chunk = right.size() / size();
    for (std::size_t at = 0; at < right.size(); at += chunk) {
      std::copy_n(right.begin() + static_cast<std::ptrdiff_t>(at), chunk,
                  receive.end() - static_cast<std::ptrdiff_t>(at + chunk));
    }
  }
};

}  // namespace

TEST_CASE("20 steps have the same bits for every bucket size, overlap and world size", "[unit]") {
  const State expected = train_toy({.world = 1, .options = toy_options(1 << 20, false)});
  const auto try_out = [&](int world, std::int64_t bucket, bool overlap) {
    require_same(expected, train_toy({.world = world, .options = toy_options(bucket, overlap)}),
                 "world " + std::to_string(world) + " bucket " + std::to_string(bucket) +
                     (overlap ? " overlap" : ""));
  };
  for (const std::int64_t bucket : {1024, 9000, 1 << 20}) {
    for (const bool overlap : {false, true}) try_out(2, bucket, overlap);
  }
  try_out(1, 1024, true);
  try_out(3, 4096, true);
  try_out(3, 20000, false);
  try_out(4, 4096, false);
  try_out(4, 20000, true);
}

TEST_CASE("likewise with bf16 parameters and a bf16 wire", "[unit]") {
  ToyRun run{.world = 1, .options = toy_options(1 << 20, false), .type = at::kBFloat16, .steps = 8};
  run.options.wire_dtype = WireDtype::kBFloat16;
  const State expected = train_toy(run);
  for (const int world : {2, 3, 4}) {
    run.world = world;
    run.options.bucket_bytes = 1500 * world;
    run.options.overlap = true;
    require_same(expected, train_toy(run), "world " + std::to_string(world));
  }
}

TEST_CASE("negative control: slices added in another order change the bits", "[unit]") {
  const ToyRun run{.world = 3, .steps = 4};
  ToyRun reversed = run;
  reversed.wrap = [](std::shared_ptr<Collective> c) {
    return std::make_shared<Reversed>(std::move(c));
  };
  REQUIRE(train_toy(run) != train_toy(reversed));
}
