// Windows kept local between micro-batches, and the backend's own reduce-scatter: other orders of
// addition, so other bits than ordered and sharded, but bits that depend on nothing else.
#include <catch2/catch_test_macros.hpp>

#include "sharding/collectives/collective_cases.h"
#include "sharding/toy.h"

using namespace muster;
using namespace muster::test;

namespace {

constexpr std::int64_t kEverything = std::int64_t{1} << 40;
constexpr std::int64_t kWindow = 4096;  // bytes of an fp32 window, whose local sum is as large

ToyRun with_budget(int world, std::int64_t budget, std::int64_t bucket = kWindow,
                   bool overlap = true) {
  ToyRun run{.world = world, .options = toy_options(bucket, overlap), .steps = 6};
  run.options.accumulation_budget_bytes = budget;
  return run;
}

ToyRun natively(int world, std::int64_t bucket = kWindow, bool overlap = true) {
  ToyRun run{.world = world, .options = toy_options(bucket, overlap), .steps = 6};
  run.options.reduce = ReduceKind::kNative;
  return run;
}

}  // namespace

TEST_CASE("the budget takes whole windows from the end", "[unit]") {
  const ShardLayout layout(10 * 1024 + 100, 2, 1024);  // 11 windows, the last of 128 elements
  REQUIRE(layout.num_windows() == 11);
  REQUIRE(first_local_window(layout, 0) == 11);
  REQUIRE(first_local_window(layout, 128 * 4 - 1) == 11);
  REQUIRE(first_local_window(layout, 128 * 4) == 10);
  REQUIRE(first_local_window(layout, (128 + 1024) * 4) == 9);
  REQUIRE(first_local_window(layout, kEverything) == 0);
}

TEST_CASE("local accumulation has the same bits for every bucket size and overlap", "[unit]") {
  for (const int world : {1, 2, 3}) {
    const State expected = train_toy(with_budget(world, kEverything, 1 << 20, false));
    for (const std::int64_t bucket : {1024, 9000}) {
      for (const bool overlap : {false, true}) {
        INFO(world << " ranks, bucket " << bucket << (overlap ? ", overlap" : ""));
        REQUIRE(first_difference(
                    expected, train_toy(with_budget(world, kEverything, bucket, overlap))) == "");
      }
    }
  }
}

TEST_CASE("knowing which backward is the last changes no bit, and reduces local windows during it",
          "[unit]") {
  for (const std::int64_t budget : {std::int64_t{0}, 5 * kWindow, kEverything}) {
    const ToyRun told = with_budget(3, budget);
    ToyRun untold = told;
    untold.tell_last = false;
    REQUIRE(first_difference(train_toy(told), train_toy(untold)) == "");
  }
  on_ranks(2, [&](std::shared_ptr<Collective> collective) {
    const Toy toy;
    EngineOptions options = toy_options(kWindow);
    options.accumulation_budget_bytes = kEverything;
    int reduced = 0;
    options.observer = [&](const CollectiveEvent& event) {
      reduced += event.phase == Phase::kReduce && !event.done ? 1 : 0;
    };
    ZeroEngine engine(toy_registry(toy), collective, options);
    engine.backward(toy.loss(0));
    expect_equal("windows reduced before the last backward", reduced, 0);
    engine.backward(toy.loss(1), /*last=*/true);
    const int during = reduced;
    engine.consensus({}, {}, false);
    expect(during > 1, fmt::format("{} windows reduced during the last backward", during));
    expect_equal("windows reduced after the consensus", reduced, during);
    bool refused = false;
    try {
      engine.backward(toy.loss(2));
    } catch (const c10::Error&) {
      refused = true;
    }
    expect(refused, "there is no backward after the last");
  });
}

TEST_CASE("local and sharded accumulation differ by the order of additions alone", "[unit]") {
  const State one = train_toy(with_budget(1, 0));
  REQUIRE(first_difference(one, train_toy(with_budget(1, kEverything))) ==
          "");  // one rank adds in one order
  ToyRun sharded = with_budget(3, 0);
  ToyRun local = with_budget(3, kEverything);
  const State other_order = train_toy(local);
  REQUIRE(first_difference(train_toy(sharded), other_order) != "");
  REQUIRE(distance(one, other_order) < 2e-3);
  for (ToyRun* run : {&sharded, &local})
    run->per_step = 3;  // one micro-batch per rank: nothing to accumulate
  REQUIRE(first_difference(train_toy(sharded), train_toy(local)) == "");
  for (ToyRun* run : {&sharded, &local}) run->options.wire_dtype = WireDtype::kBFloat16;
  REQUIRE(first_difference(train_toy(sharded), train_toy(local)) == "");
}

TEST_CASE("windows of both kinds in one engine: the bits of overlap off, on and of a second run",
          "[unit]") {
  for (const WireDtype wire : {WireDtype::kFloat32, WireDtype::kBFloat16}) {
    ToyRun run = with_budget(3, 5 * kWindow, kWindow, false);
    run.options.wire_dtype = wire;
    const State expected = train_toy(run);
    run.options.overlap = true;
    for (int repeat = 0; repeat < 2; ++repeat)
      REQUIRE(first_difference(expected, train_toy(run)) == "");
    REQUIRE(distance(expected, train_toy(with_budget(3, 0))) < 1e-2);
  }
}

TEST_CASE("a budget costs the bytes and saves the traffic that are planned", "[unit]") {
  for (const std::int64_t budget : {std::int64_t{0}, 3 * kWindow, kEverything}) {
    on_ranks(2, [&](std::shared_ptr<Collective> collective) {
      const Toy toy;
      EngineOptions options = toy_options(kWindow);
      options.accumulation_budget_bytes = budget;
      ZeroEngine engine(toy_registry(toy), collective, options);
      PlanInput input = plan_input(engine.registry(), 2, kWindow);
      input.accumulation_budget_bytes = budget;
      input.micro_batches_per_rank = 4;
      const MemoryPlan plan = plan_memory(input);
      const auto reduce = [&] {
        const std::int64_t before = collective->stats().bytes_sent;
        for (int k = 0; k < 4; ++k) engine.backward(toy.loss(k));
        engine.consensus({}, {}, false);
        return collective->stats().bytes_sent - before - 8 * (2 * 2 + 1 + 9 + 5 * 19);
      };
      expect_equal("bytes reduced", reduce(), plan.reduce_bytes_per_step);
      engine.skip_step();
      engine.empty_partition_cache();
      expect_equal("bytes held", engine.bytes(), plan.bytes);
      expect_equal("bytes held", engine.bytes(), engine.planned_bytes());
      expect_equal("some window is local", engine.bytes().accumulation > 0, budget > 0);
    });
  }
}

TEST_CASE("a NaN in a local window is named, touches nothing, and is gone in the next step",
          "[unit][fault]") {
  on_ranks(2, [&](std::shared_ptr<Collective> collective) {
    const Toy toy;
    EngineOptions options = toy_options();
    options.accumulation_budget_bytes = kEverything;
    ZeroEngine engine(toy_registry(toy), collective, options);
    toy_step(engine, toy, 0, 4);
    engine.await_all();
    State before;
    State after;
    add_state(engine, before);
    at::Tensor loss = toy.loss(1);
    if (collective->rank() == 1) loss = loss + toy.tensor("visual.patch").select(0, 5).sum() * NAN;
    engine.backward(loss);
    engine.backward(toy.loss(2));
    const StepVerdict verdict = engine.consensus({}, {}, false);
    expect_equal("finite", verdict.finite, false);
    expect_equal("culprit", verdict.culprit_rank, 1);
    expect_equal("culprit's parameter", verdict.culprit_param, "visual.patch");
    engine.skip_step();
    add_state(engine, after);
    expect_equal("changed by a skipped step", first_difference(before, after), "");
    expect_equal("the next step is finite", toy_step(engine, toy, 1, 4).finite, true);
  });
}

TEST_CASE("the backend's reduce-scatter: other bits, the same training", "[unit]") {
  for (const int world : {1, 2, 3, 4}) {
    INFO(world << " ranks");
    const State ordered = train_toy(with_budget(world, 0));
    const State native = train_toy(natively(world, kWindow, false));
    REQUIRE(distance(ordered, native) < 2e-3);
    REQUIRE((first_difference(ordered, native) == "") ==
            (world == 1));  // sum, then add: other roundings
    REQUIRE(first_difference(native, train_toy(natively(world, kWindow, true))) == "");
  }
  ToyRun low = natively(2);
  low.options.wire_dtype = WireDtype::kBFloat16;
  low.type = at::kBFloat16;
  ToyRun ordered = low;
  ordered.options.reduce = ReduceKind::kOrdered;
  REQUIRE(train_toy(low).size() == train_toy(ordered).size());
}

TEST_CASE("native reduction sends what ordered does and stages less", "[unit]") {
  const auto cost = [](ReduceKind kind) {
    std::pair<std::int64_t, std::int64_t> result;
    on_ranks(4, [&](std::shared_ptr<Collective> collective) {
      const Toy toy;
      EngineOptions options = toy_options(kWindow, false);
      options.reduce = kind;
      ZeroEngine engine(toy_registry(toy), collective, options);
      const std::int64_t before = collective->stats().bytes_sent;
      engine.backward(toy.loss(1));
      if (collective->rank() == 0)
        result = {collective->stats().bytes_sent - before, engine.bytes().staging};
      engine.consensus({}, {}, false);
    });
    return result;
  };
  const auto ordered = cost(ReduceKind::kOrdered), native = cost(ReduceKind::kNative);
  REQUIRE(ordered.first == native.first);
  REQUIRE(ordered.second - native.second == kWindow * 3 / 4);
}
