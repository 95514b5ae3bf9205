// The plan against bytes that were counted while engines trained: of all ranks, which are threads
// here.
#include <ATen/Context.h>

#include <catch2/catch_test_macros.hpp>

#include "sharding/plan/memory_plan.h"
#include "sharding/tensor_meter.h"
#include "sharding/toy.h"

using namespace muster;
using namespace muster::test;

namespace {

// Many parameters, so that one gradient is small beside the states.
constexpr int kParams = 192;
constexpr std::int64_t kNumel = 8192;

PlanInput plan_of(int world, at::ScalarType type, std::int64_t bucket_bytes, bool on_host = false) {
  const std::vector<std::int64_t> numels(kParams, kNumel);
  const int bytes = type == at::kFloat ? 4 : 2;
  return {.trainable_elements = flat_elements(numels),
          .world_size = world,
          .bucket_bytes = bucket_bytes,
          .param_bytes = bytes,
          .wire_bytes = bytes,
          .largest_parameter = kNumel,
          .num_parameters = kParams,
          .num_groups = 1,
          .optimizer_on_host = on_host};
}

// What oneDNN takes for a product of bf16 depends on the CPU (on one with AMX 3 % of these states),
// and is no part of the plan.
struct WithoutOneDnn {
  WithoutOneDnn() { at::globalContext().setUserEnabledMkldnn(false); }
  ~WithoutOneDnn() { at::globalContext().setUserEnabledMkldnn(true); }
};

struct Counted {
  std::int64_t peak = 0, between_steps = 0;  // over all ranks
  TransientBytes transient;                  // of the rank that held most, per kind
};

// Trains a few steps; `keep_gradients` plants a leak of a tenth of the parameters in each.
Counted train_counted(int world, at::ScalarType type, std::int64_t bucket_bytes,
                      bool keep_gradients, bool on_host = false) {
  const WithoutOneDnn own_products;
  TensorMeter meter;
  const std::int64_t before = meter.live().total();
  Counted counted;
  std::mutex mutex;
  on_ranks(world, [&](std::shared_ptr<Collective> collective) {
    std::vector<NamedTensor> named;
    for (int i = 0; i < kParams; ++i)
      named.push_back({"p" + std::to_string(i), at::full({kNumel}, 0.5, type)});
    EngineOptions options = toy_options(bucket_bytes);
    options.wire_dtype = type == at::kFloat ? WireDtype::kFloat32 : WireDtype::kBFloat16;
    if (on_host) {
      options.optimizer_device = OptimizerDevice::kHost;
      options.apart = [](std::string_view /*what*/, int /*window*/) {};
    }
    ZeroEngine engine(ParamRegistry(named, {{"all", {"p"}, 0.0}}, false), collective, options);
    std::vector<std::int64_t> meet(1);
    collective->all_reduce_sum(meet);
    if (collective->rank() == 0) meter.restart_peak();
    collective->all_reduce_sum(meet);
    const double rates[]{1e-3};
    std::vector<at::Tensor> kept;
    for (int step = 0; step < 3; ++step) {
      at::Tensor loss = at::zeros({}, type);
      for (const NamedTensor& t : named) loss = loss + t.tensor.dot(t.tensor);
      if (keep_gradients) kept.push_back(at::empty({kParams * kNumel / 10}, type));
      engine.backward(loss);
      engine.step(rates, engine.consensus({}, {}, false));
      engine.empty_partition_cache();
      const std::lock_guard lock(mutex);
      const TransientBytes peak = engine.step_peak();
      for (const Ledger::Kind kind :
           {&TransientBytes::staging, &TransientBytes::receive, &TransientBytes::gradient,
            &TransientBytes::consensus, &TransientBytes::snapshot}) {
        counted.transient.*kind = std::max(counted.transient.*kind, peak.*kind);
      }
      expect_equal("bytes held", engine.bytes(), engine.planned_bytes());
    }
    engine.await_all();
    collective->all_reduce_sum(meet);
    if (collective->rank() == 0)
      counted = {meter.peak() - before, meter.live().total() - before, counted.transient};
    collective->all_reduce_sum(meet);
  });
  return counted;
}

}  // namespace

TEST_CASE("memory plan: the counted peak of model states is within 2 % of the plan", "[unit]") {
  for (const at::ScalarType type : {at::kFloat, at::kBFloat16}) {
    for (const int world : {1, 2, 3, 5}) {
      INFO("world " << world << (type == at::kFloat ? " fp32" : " bf16"));
      const MemoryPlan plan = plan_memory(plan_of(world, type, 64 << 10));
      const Counted counted = train_counted(world, type, 64 << 10, false);
      const std::int64_t held = plan.bytes.total() * world;
      const std::int64_t most = held + (plan.transient.total() - plan.transient.snapshot) * world;
      CHECK(counted.peak <= most * 102 / 100);
      CHECK(counted.peak >= held);
      CHECK(counted.between_steps <= held * 101 / 100);
      CHECK(counted.transient.staging <= plan.transient.staging);
      CHECK(counted.transient.staging > 0);
      CHECK(counted.transient.receive == plan.transient.receive);
      CHECK(counted.transient.gradient == plan.transient.gradient);
      CHECK(counted.transient.consensus == plan.transient.consensus);
    }
  }
}

TEST_CASE("memory plan: an optimizer on the host, counted on both sides within 2 %", "[unit]") {
  for (const at::ScalarType type : {at::kFloat, at::kBFloat16}) {
    for (const int world : {1, 2, 4}) {
      INFO("world " << world << (type == at::kFloat ? " fp32" : " bf16"));
      const MemoryPlan beside = plan_memory(plan_of(world, type, 64 << 10));
      const MemoryPlan plan = plan_memory(plan_of(world, type, 64 << 10, true));
      const Counted counted = train_counted(world, type, 64 << 10, false, true);
      CHECK(plan.bytes.total() ==
            beside.bytes.total() - beside.bytes.master - beside.bytes.moments);
      CHECK(plan.bytes.host.master + plan.bytes.host.moments ==
            beside.bytes.master + beside.bytes.moments);
      const std::int64_t held = (plan.bytes.total() + plan.bytes.host.total()) * world;
      const std::int64_t transient = plan.transient.total() - plan.transient.snapshot;
      CHECK(counted.peak <= (held + transient * world) * 102 / 100);
      CHECK(counted.peak >= held);
      CHECK(counted.between_steps >= held);
      CHECK(counted.between_steps <= held * 101 / 100);
      CHECK(plan.fetched_bytes_per_step == plan.bytes.gradient_shard);
      CHECK(plan.put_back_bytes_per_step * world == plan.bytes.parameters);
    }
  }
}

TEST_CASE("memory plan: a tenth of the parameters kept per step breaks the bound", "[unit]") {
  const MemoryPlan plan = plan_memory(plan_of(2, at::kFloat, 64 << 10));
  const Counted counted = train_counted(2, at::kFloat, 64 << 10, true);
  CHECK(counted.peak >
        (plan.bytes.total() + plan.transient.total() - plan.transient.snapshot) * 2 * 102 / 100);
}

TEST_CASE("memory plan: a snapshot is on the books until it is dropped", "[unit]") {
  const Toy toy;
  ZeroEngine engine(toy_registry(toy), make_self(), toy_options());
  auto snapshot = engine.snapshot();
  engine.empty_partition_cache();
  const std::int64_t held = engine.step_peak().snapshot;
  CHECK(held == engine.planned_bytes().gradient_shard * 3);
  snapshot.reset();
  engine.empty_partition_cache();
  engine.empty_partition_cache();
  CHECK(engine.step_peak().snapshot == 0);
}

TEST_CASE("memory plan: per rank it shrinks with the world, towards the parameters", "[unit]") {
  std::int64_t before = plan_memory(plan_of(1, at::kBFloat16, 64 << 10)).bytes.total();
  for (const int world : {2, 4, 8, 64}) {
    const MemoryPlan plan = plan_memory(plan_of(world, at::kBFloat16, 64 << 10));
    CHECK(plan.bytes.total() < before);
    CHECK(plan.bytes.total() > plan.bytes.parameters);
    before = plan.bytes.total();
  }
}
