#include <c10/core/GradMode.h>

#include <catch2/catch_test_macros.hpp>
#include <catch2/matchers/catch_matchers_floating_point.hpp>

#include "base/error.h"
#include "sharding/plan/memory_plan.h"
#include "sharding/toy.h"

using namespace muster;
using namespace muster::test;

namespace {

State state_of(const ZeroEngine& engine) {
  State state;
  add_state(engine, state);
  return state;
}

std::shared_ptr<Collective> self() { return make_self(); }

}  // namespace

TEST_CASE("one rank trains as torch's AdamW with clipping does", "[unit]") {
  const Toy toy, reference;
  EngineOptions options = toy_options();
  options.clip_norm = 1.0;
  ZeroEngine engine(toy_registry(toy), self(), options);
  std::vector<at::Tensor> p, m, v;
  std::vector<double> decay, rate;
  const ParamRegistry registry = toy_registry(reference);
  for (const Param& param : registry.trainable()) {
    if (param.name == "model.unused" || param.name == "model.empty") continue;
    p.push_back(param.tensor);
    m.push_back(at::zeros_like(param.tensor));
    v.push_back(at::zeros_like(param.tensor));
    decay.push_back(param.weight_decay);
    rate.push_back(kToyRates[param.group]);
  }
  for (std::int64_t step = 0; step < 10; ++step) {
    const StepVerdict verdict =
        toy_step(engine, toy, step, 2);  // the second micro-batch has an image
    for (int k = 0; k < 2; ++k) reference.loss(step * 2 + k).backward();
    double squares = 0;
    for (const at::Tensor& t : p)
      squares += t.grad().defined() ? t.grad().to(at::kDouble).square().sum().item<double>() : 0;
    REQUIRE_THAT(verdict.grad_norm, Catch::Matchers::WithinRel(std::sqrt(squares), 1e-5));
    const double clip = std::min(1.0, 1.0 / (std::sqrt(squares) + 1e-6));
    for (std::size_t i = 0; i < p.size(); ++i) {
      if (!p[i].grad().defined()) continue;
      const at::Tensor data = p[i].detach(), gradient = p[i].grad() * clip;
      at::_fused_adamw_({data}, {gradient}, {m[i]}, {v[i]}, {},
                        {at::tensor(static_cast<float>(step + 1))}, rate[i], 0.9, 0.95, decay[i],
                        1e-8, false, false);
      p[i].mutable_grad().reset();
    }
  }
  for (const Param& param : registry.trainable()) {
    INFO(param.name);
    REQUIRE(at::allclose(param.tensor, toy.tensor(param.name), 1e-4, 1e-5));
  }
  REQUIRE(engine.steps_taken() == 10);
}

TEST_CASE("a NaN on one rank is named, and touches nothing on any rank", "[unit][fault]") {
  for (const int world : {1, 2, 3}) {
    const int culprit = world - 1;
    on_ranks(world, [&](std::shared_ptr<Collective> collective) {
      const Toy toy;
      const int rank = collective->rank();
      ZeroEngine engine(toy_registry(toy), collective, toy_options());
      toy_step(engine, toy, 0, 6);
      engine.await_all();
      const State before = state_of(engine);
      at::Tensor loss = toy.loss(1);
      if (rank == culprit)
        loss = loss +
               toy.tensor("model.up.bias").select(0, 5) * std::numeric_limits<float>::quiet_NaN();
      engine.backward(loss);
      const StepVerdict verdict = engine.consensus({}, {}, false);
      expect_equal("finite", verdict.finite, false);
      expect_equal("culprit", verdict.culprit_rank, culprit);
      expect_equal("culprit's parameter", verdict.culprit_param, "model.up.bias");
      engine.skip_step();
      expect_equal("changed by a skipped step", first_difference(state_of(engine), before), "");
      expect_equal("the next step is finite", toy_step(engine, toy, 1, 6).finite, true);
    });
  }
}

TEST_CASE("good gradients whose sum overflows are caught in the owner's shard", "[unit][fault]") {
  on_ranks(2, [&](std::shared_ptr<Collective> collective) {
    const Toy toy;
    ZeroEngine engine(toy_registry(toy), collective, toy_options());
    engine.backward(toy.tensor("head.weight").select(0, 0).sum() * 3e38);
    const StepVerdict verdict = engine.consensus({}, {}, false);
    expect_equal("finite", verdict.finite, false);
    expect_equal("culprit's parameter", verdict.culprit_param, "head.weight");
  });
}

TEST_CASE("ranks without a loss or a graph neither hang nor change the others", "[unit]") {
  State states[2];
  for (int variant = 0; variant < 2; ++variant) {
    on_ranks(3, [&](std::shared_ptr<Collective> collective) {
      const Toy toy;
      const int rank = collective->rank();
      ZeroEngine engine(toy_registry(toy), collective, toy_options(1024));
      const at::Tensor losses[]{toy.loss(4), at::Tensor(), at::zeros({})};
      engine.backward(losses[rank]);
      if (variant == 1) engine.backward(at::Tensor());  // one more micro-batch of nothing
      const std::int64_t counts[]{10 + rank};
      const double values[]{rank == 0 ? 0.1 : 0.0, rank == 2 ? -1e-300 : 0.0};
      const StepVerdict verdict = engine.consensus(counts, values, rank == 1);
      expect_equal("counts", verdict.counts, std::vector<std::int64_t>{33});
      expect_equal("values", verdict.values, std::vector<double>{0.1, -1e-300});
      expect_equal("stop", verdict.stop, true);
      engine.step(kToyRates, verdict);
      engine.await_all();
      if (rank == 0) states[variant] = state_of(engine);
    });
  }
  REQUIRE(states[0] == states[1]);
}

TEST_CASE("parameters without a gradient on any rank are left alone: no decay, no moments",
          "[unit]") {
  on_ranks(2, [&](std::shared_ptr<Collective> collective) {
    const Toy toy;
    ZeroEngine engine(toy_registry(toy), collective, toy_options());
    std::map<std::string, at::Tensor> before;
    for (const NamedTensor& t : toy.named) before[t.name] = t.tensor.detach().clone();
    const auto moved = [&](const std::string& name) {
      return !at::equal(toy.tensor(name), before.at(name));
    };
    engine.backward(toy.loss(0));  // text only, on both ranks
    engine.step(kToyRates, engine.consensus({}, {}, false));
    engine.await_all();
    for (const std::string name : {"model.unused", "visual.patch", "model.frozen"})
      expect_equal(name + ", without a gradient, moved", moved(name), false);
    expect_equal("head.weight, which is used, moved", moved("head.weight"), true);
    engine.backward(collective->rank() == 1 ? toy.loss(1) : toy.loss(0));  // now one rank uses it
    engine.step(kToyRates, engine.consensus({}, {}, false));
    engine.await_all();
    expect_equal("visual.patch, used by one rank, moved", moved("visual.patch"), true);
  });
}

TEST_CASE("groups have their own rate", "[unit]") {
  const auto moved = [](double head_rate) {
    const Toy toy;
    ZeroEngine engine(toy_registry(toy), self(), toy_options());
    engine.backward(toy.loss(1));
    std::vector<double> rates = kToyRates;
    rates[4] = head_rate;
    engine.step(rates, engine.consensus({}, {}, false));
    return std::pair{raw_bytes(toy.tensor("head.weight")), raw_bytes(toy.tensor("model.embed"))};
  };
  const auto [slow_head, slow_embed] = moved(1e-4);
  const auto [fast_head, fast_embed] = moved(1e-2);
  REQUIRE(slow_head != fast_head);
  REQUIRE(slow_embed == fast_embed);
}

TEST_CASE("a frozen group costs no state and no traffic", "[unit]") {
  const auto cost = [](bool frozen) {
    std::pair<std::int64_t, std::int64_t> result;
    on_ranks(2, [&](std::shared_ptr<Collective> collective) {
      const Toy toy;
      auto groups = toy_groups();
      groups[3].frozen = frozen;  // model: 11.6 of 12.4 thousand elements
      ZeroEngine engine(ParamRegistry(toy.named, groups, false), collective, toy_options());
      const std::int64_t before = collective->stats().bytes_sent;
      toy_step(engine, toy, 0, 4);
      engine.await_all();
      if (collective->rank() == 0)
        result = {engine.bytes().total(), collective->stats().bytes_sent - before};
    });
    return result;
  };
  const auto [all_bytes, all_traffic] = cost(false);
  const auto [few_bytes, few_traffic] = cost(true);
  REQUIRE(few_bytes * 5 < all_bytes);
  REQUIRE(few_traffic * 5 < all_traffic);
}

TEST_CASE("law 7: gradients die in their hook, and after every step the plan's bytes are held",
          "[unit]") {
  for (const int world : {1, 2, 3, 5}) {
    for (const std::int64_t bucket : {1024, 9000}) {
      on_ranks(world, [&](std::shared_ptr<Collective> collective) {
        const Toy toy;
        ZeroEngine engine(toy_registry(toy), collective, toy_options(bucket));
        const MemoryPlan plan = plan_memory(plan_input(engine.registry(), world, bucket));
        for (int step = 0; step < 3; ++step) {
          engine.backward(toy.loss(step));
          for (const Param& p : engine.registry().trainable()) {
            expect_equal(p.name + " has a gradient after its hook", p.tensor.grad().defined(),
                         false);
          }
          const StepVerdict verdict = engine.consensus({}, {}, false);
          engine.step(kToyRates, verdict);
          const std::int64_t staging = engine.bytes().staging;
          const std::int64_t released = engine.empty_partition_cache(step == 2);
          expect(staging > 0, "nothing was staged");
          expect_equal("bytes released", released, staging);
          expect_equal("bytes held", engine.bytes(), engine.planned_bytes());
          expect_equal("bytes held", engine.bytes(), plan.bytes);
        }
      });
    }
  }
}

TEST_CASE("staging stays within the plan while gradients come in order", "[unit]") {
  std::vector<NamedTensor> chain;
  for (int i = 0; i < 12; ++i)
    chain.push_back({"model." + std::to_string(i),
                     random_tensor({16, 16}, static_cast<std::uint64_t>(i), 0.2)});
  on_ranks(2, [&](std::shared_ptr<Collective> collective) {
    std::vector<NamedTensor> mine;
    for (const NamedTensor& t : chain) mine.push_back({t.name, t.tensor.clone()});
    ZeroEngine engine(ParamRegistry(mine, {{"model", {"model."}}}, false), collective,
                      toy_options(1024));
    at::Tensor x = at::ones({4, 16});
    for (const NamedTensor& t : mine) x = x.matmul(t.tensor).tanh();
    engine.backward(x.sum());
    engine.consensus({}, {}, false);
    const TransientBytes most = plan_memory(plan_input(engine.registry(), 2, 1024)).transient;
    const std::int64_t plan = most.staging + most.receive;
    expect_equal("planned staging", plan, 4 * 1024);
    expect(engine.bytes().staging <= plan,
           fmt::format("{} bytes of staging above the plan's {}", engine.bytes().staging, plan));
  });
}

TEST_CASE("traffic is the ring's minimum, and as planned", "[unit]") {
  for (const int world : {2, 3, 4}) {
    on_ranks(world, [&](std::shared_ptr<Collective> collective) {
      const Toy toy;
      ZeroEngine engine(toy_registry(toy), collective, toy_options(2048));
      engine.backward(toy.loss(1));
      engine.consensus({}, {}, false);
      engine.skip_step();
      const std::int64_t start = collective->stats().bytes_sent;
      engine.backward(toy.loss(1));
      const StepVerdict verdict = engine.consensus({}, {}, false);
      const std::int64_t reduced = collective->stats().bytes_sent - start;
      engine.step(kToyRates, verdict);
      engine.await_all();
      const std::int64_t gathered = collective->stats().bytes_sent - start - reduced;
      const MemoryPlan plan = plan_memory(plan_input(engine.registry(), world, 2048));
      const std::int64_t message = 8 * (2 * world + 1 + 9 + 5 * 19) * (world - 1);
      expect_equal("bytes reduced", reduced, plan.reduce_bytes_per_step + message);
      expect_equal("bytes gathered", gathered, plan.gather_bytes_per_step);
      std::int64_t elements = 0;
      for (const Param& p : engine.registry().trainable()) elements += p.tensor.numel();
      const double minimum =
          2.0 * 4 * static_cast<double>(elements) * (world - 1) / world;  // 2P(N-1)/N, 4 bytes each
      const double sent =
          static_cast<double>(plan.reduce_bytes_per_step + plan.gather_bytes_per_step);
      expect(sent >= minimum && sent <= 1.06 * minimum,
             fmt::format("{} bytes are not within padding of the minimum, {}", sent, minimum));
    });
  }
}

TEST_CASE("the observer hears of every bucket on the main thread, with the collective's number",
          "[unit]") {
  on_ranks(2, [&](std::shared_ptr<Collective> collective) {
    const Toy toy;
    std::vector<std::string> heard;
    const auto main_thread = std::this_thread::get_id();
    EngineOptions options = toy_options(9000);
    options.observer = [&](const CollectiveEvent& event) {
      if (std::this_thread::get_id() != main_thread) std::abort();
      heard.push_back(fmt::format("{}{} {} {}", phase_name(event.phase), event.done ? " done" : "",
                                  event.bucket, event.number));
    };
    ZeroEngine engine(toy_registry(toy), collective, options);
    const std::int64_t first = collective->sequence() + 1;
    toy_step(engine, toy, 0, 2);
    engine.await_all();
    const auto expect_heard_once = [&](const std::string& what, std::int64_t number) {
      const std::string line = fmt::format("{} 0 {}", what, number);
      expect_equal("times heard: " + line, std::count(heard.begin(), heard.end(), line), 1);
    };
    expect_heard_once("reduce", first);
    expect_heard_once("reduce done", first);
    expect_heard_once("gather", collective->sequence());
    expect_heard_once("gather done", collective->sequence());
  });
}

TEST_CASE("a parameter that gets several gradients in one backward is summed, or refused by name",
          "[unit][fault]") {
  const Toy toy;
  EngineOptions options = toy_options(1024, false);
  options.reused = {"head."};
  ZeroEngine engine(toy_registry(toy), self(), options);
  // A hook that runs another backward inside this one, as a checkpointed segment does.
  const auto nested = [&] {
    at::Tensor outer =
        toy.tensor("head.weight").sum() * 2 + toy.tensor("model.up.bias").sum().square();
    outer.register_hook([&](const at::Tensor& g) {
      const c10::AutoGradMode on(true);
      toy.tensor("head.weight").sum().backward();
      return g;
    });
    return outer;
  };
  engine.backward(nested());
  const StepVerdict verdict = engine.consensus({}, {}, false);
  REQUIRE_THAT(verdict.group_norms[4],
               Catch::Matchers::WithinRel(3.0 * std::sqrt(72.0), 1e-6));  // 2 + 1, of 72 elements

  const Toy other;
  ZeroEngine strict(toy_registry(other), self(),
                    toy_options(256, false));  // a window of head.weight alone
  at::Tensor outer = other.tensor("head.weight").sum() * 2;
  outer.register_hook([&](const at::Tensor& g) {
    const c10::AutoGradMode on(true);
    other.tensor("head.weight").sum().backward();
    return g;
  });
  REQUIRE_THROWS_AS(strict.backward(outer), ConfigError);
}

TEST_CASE("ranks with different layouts are told the first difference, all of them",
          "[unit][fault]") {
  std::atomic<int> told = 0;
  on_ranks(3, [&](std::shared_ptr<Collective> collective) {
    const Toy toy;
    auto groups = toy_groups();
    if (collective->rank() == 2) groups[4].weight_decay = 0.5;  // head
    try {
      ZeroEngine engine(ParamRegistry(toy.named, groups, false), collective, toy_options());
    } catch (const CollectiveError& e) {
      const std::string what = e.what();
      const bool parameter = what.find("head.weight") != std::string::npos;
      if (parameter && what.find("rank 2") != std::string::npos) ++told;
    }
  });
  REQUIRE(told == 3);
}

TEST_CASE("parameters start as rank 0 has them, and keep their identity", "[unit]") {
  on_ranks(2, [&](std::shared_ptr<Collective> collective) {
    const Toy toy;
    const std::string expected = raw_bytes(toy.tensor("model.up.weight"));
    if (collective->rank() == 1) toy.tensor("model.up.weight").zero_();
    const auto* before = toy.tensor("model.up.weight").unsafeGetTensorImpl();
    ZeroEngine engine(toy_registry(toy), collective, toy_options());
    expect_equal("has rank 0's values", raw_bytes(toy.tensor("model.up.weight")) == expected, true);
    expect_equal("is the tensor it was",
                 toy.tensor("model.up.weight").unsafeGetTensorImpl() == before, true);
  });
}

TEST_CASE("options and parameters the engine cannot honour are refused", "[unit]") {
  const Toy toy;
  EngineOptions budget = toy_options();
  budget.accumulation_budget_bytes = -1;
  REQUIRE_THROWS_AS(ZeroEngine(toy_registry(toy), self(), budget), ConfigError);
  REQUIRE_THROWS_AS(ZeroEngine(toy_registry(toy), self(), toy_options(0)), ConfigError);
  REQUIRE_THROWS_AS(
      ZeroEngine(ParamRegistry({{"a", at::zeros({2}, at::kDouble)}}, {{"all", {""}}}, true), self(),
                 toy_options()),
      ConfigError);
  REQUIRE_THROWS_AS(
      ZeroEngine(ParamRegistry({{"a", at::zeros({2})}}, {{"all", {""}, 0, true}}, true), self(),
                 toy_options()),
      ConfigError);
}
