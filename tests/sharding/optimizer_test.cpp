// Storage of the optimizer: split masters, bf16 moments, stochastic rounding, instruction sets; the
// fp16 loss scale.
#include <catch2/catch_test_macros.hpp>
#include <catch2/matchers/catch_matchers_floating_point.hpp>

#include "base/error.h"
#include "base/files.h"
#include "sharding/collectives/collective_cases.h"
#include "sharding/kernels/fused_adamw.h"
#include "sharding/toy.h"

using namespace muster;
using namespace muster::test;

namespace {

// Everything one element run needs, in the storage asked for.
struct Storage {
  at::Tensor parameter, master, remainder, exp_avg, exp_avg_sq;

  Storage(const at::Tensor& start, at::ScalarType type, MasterKind kind, at::ScalarType moments) {
    parameter = start.to(type).clone();
    if (type != at::kFloat && kind == MasterKind::kFloat32) master = parameter.to(at::kFloat);
    if (kind == MasterKind::kSplit) remainder = at::zeros(start.sizes(), at::kShort);
    exp_avg = at::zeros(start.sizes(), moments);
    exp_avg_sq = at::zeros(start.sizes(), moments);
  }

  AdamWRun run(const at::Tensor& gradient, std::int64_t step, bool stochastic) const {
    return {.gradient = gradient,
            .parameter = parameter,
            .master = master,
            .remainder = remainder,
            .exp_avg = exp_avg,
            .exp_avg_sq = exp_avg_sq,
            .stochastic = stochastic,
            .seed = 3,
            .first = 1000,
            .scale = 0.5,
            .lr = 1e-2,
            .weight_decay = 0.1,
            .beta1 = 0.9,
            .beta2 = 0.999,
            .eps = 1e-8,
            .step = step};
  }

  std::string bytes() const {
    std::string all;
    for (const at::Tensor& t : {parameter, master, remainder, exp_avg, exp_avg_sq}) {
      if (t.defined()) all += raw_bytes(t);
    }
    return all;
  }
};

void train(const Storage& storage, CpuIsa isa, bool stochastic, int steps = 5) {
  for (int step = 1; step <= steps; ++step) {
    const at::Tensor gradient =
        random_tensor(storage.parameter.sizes(), 40 + static_cast<std::uint64_t>(step), 0.1);
    const AdamWRun run = storage.run(gradient, step, stochastic);
    adamw_cpu(adamw_spans(run), 0, gradient.numel(), adamw_factors(run), isa);
  }
}

EngineOptions with_storage(MasterKind master, bool bf16_moments, bool stochastic,
                           std::int64_t bucket = 4096) {
  EngineOptions options = toy_options(bucket);
  options.master = master;
  options.bf16_moments = bf16_moments;
  options.stochastic_rounding = stochastic;
  options.rounding_seed = 5;
  return options;
}

}  // namespace

TEST_CASE("every instruction set gives the same bits in every storage", "[unit]") {
  const at::Tensor start = random_tensor({2077}, 1, 1);
  struct Case {
    at::ScalarType type;
    MasterKind kind;
    at::ScalarType moments;
    bool stochastic;
  };
  for (const Case& c : {Case{at::kFloat, MasterKind::kFloat32, at::kFloat, false},
                        Case{at::kBFloat16, MasterKind::kFloat32, at::kFloat, false},
                        Case{at::kHalf, MasterKind::kFloat32, at::kFloat, false},
                        Case{at::kBFloat16, MasterKind::kSplit, at::kBFloat16, true},
                        Case{at::kBFloat16, MasterKind::kNone, at::kBFloat16, true}}) {
    const Storage baseline(start, c.type, c.kind, c.moments);
    train(baseline, CpuIsa::kBaseline, c.stochastic);
    for (const CpuIsa isa : {CpuIsa::kAvx2, CpuIsa::kAvx512}) {
      if (!cpu_has(isa)) continue;
      const Storage other(start, c.type, c.kind, c.moments);
      train(other, isa, c.stochastic);
      INFO(c10::toString(c.type) << " master " << static_cast<int>(c.kind) << " isa "
                                 << static_cast<int>(isa));
      REQUIRE((other.bytes() == baseline.bytes()));
    }
  }
}

TEST_CASE("both halves of a split master are exactly the fp32 one", "[unit]") {
  std::vector<float> values{0.0F, -0.0F, 1.0F, 3.4e38F, -3.4e38F, 1e-45F, INFINITY, -INFINITY};
  for (std::uint32_t low : {0U, 1U, 0x7fffU, 0x8000U, 0x8001U, 0xffffU}) {
    for (std::uint32_t high : {0x3f80U, 0x3f81U, 0xbf80U, 0x7f7fU, 0x0000U}) {
      values.push_back(std::bit_cast<float>(high << 16 | low));  // ties, and both sides of them
    }
  }
  for (const float value : values) {
    INFO(value);
    REQUIRE(std::bit_cast<std::uint32_t>(join_halves(high_half(value), low_half(value))) ==
            std::bit_cast<std::uint32_t>(value));
  }
  REQUIRE(std::isnan(join_halves(high_half(NAN), low_half(NAN))));
}

TEST_CASE("a split master trains with the bits of an fp32 one, in 2 bytes per element less",
          "[unit]") {
  const auto train_as = [](MasterKind master, int world, std::int64_t bucket) {
    return train_toy({.world = world,
                      .options = with_storage(master, false, false, bucket),
                      .type = at::kBFloat16,
                      .steps = 20,
                      .per_step = 6});
  };
  const State whole = train_as(MasterKind::kFloat32, 1, 1 << 20);
  for (const int world : {1, 2, 3})
    REQUIRE(first_difference(whole, train_as(MasterKind::kSplit, world, 3000)) == "");

  const Toy toy(at::kBFloat16);
  const ZeroEngine split(toy_registry(toy), make_self(),
                         with_storage(MasterKind::kSplit, true, true));
  PlanInput input = plan_input(split.registry(), 1, 4096);
  input.param_bytes = 2;
  input.master = MasterKind::kSplit;
  input.bf16_moments = true;
  REQUIRE(split.bytes() == plan_memory(input).bytes);
  REQUIRE(split.bytes().master == split.bytes().parameters);
  REQUIRE(split.bytes().moments == 2 * split.bytes().parameters);
}

TEST_CASE("stochastic rounding: the mean is kept, the draws depend on seed, step and place alone",
          "[unit]") {
  constexpr std::int64_t n = 200000;
  const float value =
      std::bit_cast<float>(0x3f804000U);  // a quarter of the way from 1 to the next bf16
  std::int64_t up = 0;
  for (std::int64_t i = 0; i < n; ++i)
    up += round_by_chance(value, random_bits(7, i) & 0xffffU) == 0x3f81U;
  REQUIRE_THAT(static_cast<double>(up) / n,
               Catch::Matchers::WithinAbs(0.25, 0.005));  // 5 standard deviations
  for (std::int64_t i = 0; i < 100; ++i)
    REQUIRE(round_by_chance(1.0F, random_bits(7, i) & 0xffffU) == 0x3f80U);
  std::int64_t same = 0;
  for (std::int64_t i = 0; i < n; ++i)
    same += (random_bits(7, i) & 0xffffU) == (random_bits(8, i) & 0xffffU);
  REQUIRE(same < 30);  // 3 expected

  const auto train_as = [](int world, std::int64_t bucket, std::uint64_t seed) {
    ToyRun run{.world = world,
               .options = with_storage(MasterKind::kNone, true, true, bucket),
               .type = at::kBFloat16};
    run.options.rounding_seed = seed;
    run.steps = 8;
    run.per_step = 6;
    return train_toy(run);
  };
  const State whole = train_as(1, 1 << 20, 5);
  REQUIRE(first_difference(whole, train_as(2, 3000, 5)) == "");
  REQUIRE(first_difference(whole, train_as(3, 9000, 5)) == "");
  REQUIRE(first_difference(whole, train_as(1, 1 << 20, 6)) != "");
}

TEST_CASE("small updates survive in bf16 by chance alone: nearest rounding loses them", "[unit]") {
  const auto drift = [](bool stochastic) {
    const Storage storage(at::ones({4096}), at::kBFloat16, MasterKind::kNone, at::kFloat);
    for (int step = 1; step <= 20; ++step) {
      AdamWRun run = storage.run(at::ones({4096}), step, stochastic);
      run.lr = 1e-4;  // a step of 1e-4, where bf16 resolves 4e-3 below 1
      run.weight_decay = 0;
      adamw_cpu(adamw_spans(run), 0, 4096, adamw_factors(run), best_cpu_isa());
    }
    return 1 - storage.parameter.to(at::kDouble).mean().item<double>();
  };
  REQUIRE(drift(false) == 0);
  REQUIRE_THAT(drift(true), Catch::Matchers::WithinRel(20e-4, 0.1));
}

TEST_CASE("low-precision state is refused where it cannot be honoured", "[unit]") {
  const Toy toy;
  REQUIRE_THROWS_AS(
      ZeroEngine(toy_registry(toy), make_self(), with_storage(MasterKind::kSplit, false, false)),
      ConfigError);
  EngineOptions odd = toy_options();
  odd.loss_scale.initial = 3;
  const Toy half(at::kHalf);
  REQUIRE_THROWS_AS(ZeroEngine(toy_registry(half), make_self(), odd), ConfigError);
}

TEST_CASE("groups may have betas of their own", "[unit]") {
  const auto train_with = [](std::optional<Betas> betas) {
    const Toy toy;
    auto groups = toy_groups();
    groups[4].betas = betas;  // head
    ZeroEngine engine(ParamRegistry(toy.named, groups, false), make_self(), toy_options());
    for (int step = 0; step < 3; ++step) toy_step(engine, toy, step, 2);
    return std::pair{raw_bytes(engine.full("head.weight", StateKind::kExpAvg)),
                     raw_bytes(engine.full("model.up.weight", StateKind::kExpAvg))};
  };
  const auto common = train_with(std::nullopt), own = train_with(Betas{0.5, 0.9});
  REQUIRE(common == train_with(Betas{0.9, 0.95}));  // what the engine's options say
  REQUIRE(common.first != own.first);
}

// --- fp16 ---

TEST_CASE(
    "the loss scale halves on overflow after its hysteresis, and doubles after enough good steps",
    "[unit]") {
  LossScaler scaler(LossScaleOptions{.initial = 8, .growth_interval = 3, .hysteresis = 2});
  REQUIRE(scaler.update(false));  // borne
  REQUIRE(scaler.scale() == 8);
  REQUIRE(scaler.update(false));
  REQUIRE(scaler.scale() == 4);
  REQUIRE(scaler.update(false));  // no more patience until it has grown
  REQUIRE(scaler.scale() == 2);
  for (int i = 0; i < 3; ++i) REQUIRE_FALSE(scaler.update(true));
  REQUIRE(scaler.scale() == 4);
  REQUIRE(scaler.update(false));
  REQUIRE(scaler.scale() == 4);
  for (int i = 0; i < 2; ++i) REQUIRE(scaler.update(false));
  REQUIRE(scaler.scale() == 1);
  REQUIRE_FALSE(scaler.update(false));  // a scale of 1 is not to blame
  LossScaler off;
  REQUIRE_FALSE(off.update(false));
  REQUIRE(off.scale() == 1);
}

namespace {

EngineOptions fp16_options(double initial, std::int64_t interval = 1000) {
  EngineOptions options = toy_options();
  options.loss_scale = {.initial = initial, .growth_interval = interval, .hysteresis = 1};
  return options;
}

}  // namespace

TEST_CASE("fp16 trains as fp32 does, whatever the world size; the scale is divided out exactly",
          "[unit]") {
  const auto train_as = [](at::ScalarType type, int world, double scale) {
    ToyRun run{
        .world = world, .options = fp16_options(scale), .type = type, .steps = 6, .per_step = 6};
    return train_toy(run);
  };
  const State half = train_as(at::kHalf, 1, 64);
  REQUIRE(first_difference(half, train_as(at::kHalf, 2, 64)) == "");
  REQUIRE(first_difference(half, train_as(at::kHalf, 3, 64)) == "");
  const State whole = train_as(at::kFloat, 1, 1);
  double a = 0, b = 0;
  std::memcpy(&a, half.at("norms").data(), 8);
  std::memcpy(&b, whole.at("norms").data(), 8);
  REQUIRE_THAT(a, Catch::Matchers::WithinRel(b, 0.01));
}

TEST_CASE("an overflow lowers the scale on all ranks and skips; resuming keeps the scale",
          "[unit][fault]") {
  const TempDir dir;
  on_ranks(2, [&](std::shared_ptr<Collective> collective) {
    const Toy toy(at::kHalf);
    ZeroEngine engine(toy_registry(toy), collective, fp16_options(0x1p20, 2));
    const std::string before = raw_bytes(toy.tensor("head.weight"));
    StepVerdict verdict = toy_step(engine, toy, 0, 4);
    expect_equal("finite", verdict.finite, false);
    expect_equal("scale too high", verdict.scale_too_high, true);
    expect_equal("loss scale", verdict.loss_scale, 0x1p20);
    expect_equal("an overflowing step leaves a parameter alone",
                 raw_bytes(toy.tensor("head.weight")) == before, true);
    int steps = 1;
    for (; !verdict.finite && steps < 30; ++steps) verdict = toy_step(engine, toy, steps, 4);
    expect_equal("finite", verdict.finite, true);
    expect(verdict.loss_scale < 0x1p20,
           fmt::format("the scale did not come down: {}", verdict.loss_scale));
    const fs::path file = dir.path() / ("optimizer-" + std::to_string(collective->rank()) + ".h5");
    ZeroEngine::write(*engine.snapshot(), file);
  });
  const Toy toy(at::kHalf);
  ZeroEngine resumed(toy_registry(toy), make_self(), fp16_options(0x1p20, 2));
  resumed.load({dir.path() / "optimizer-0.h5", dir.path() / "optimizer-1.h5"});
  REQUIRE(resumed.snapshot()->header.loss_scale.scale < 0x1p20);
  REQUIRE(resumed.snapshot()->header.loss_scale.good_steps == 1);
  REQUIRE(toy_step(resumed, toy, 40, 4).loss_scale < 0x1p20);
}

// --- views ---

TEST_CASE("full() shows every state of a parameter alike on all ranks; set_full() changes it",
          "[unit]") {
  const State expected = train_toy({.world = 1, .steps = 2, .per_step = 6});
  on_ranks(3, [&](std::shared_ptr<Collective> collective) {
    const Toy toy;
    ZeroEngine engine(toy_registry(toy), collective, toy_options(1024));
    for (int step = 0; step < 2; ++step) toy_step(engine, toy, step, 6);
    const auto same = [&](const char* name, StateKind kind, const char* what) {
      const std::string key = fmt::format("{}/{}", name, what);
      expect_equal(key + " is as expected", raw_bytes(engine.full(name, kind)) == expected.at(key),
                   true);
    };
    for (const char* name : {"model.up.weight", "visual.patch", "model.up.bias"}) {
      same(name, StateKind::kMaster, "master");
      same(name, StateKind::kExpAvg, "exp_avg");
      same(name, StateKind::kExpAvgSq, "exp_avg_sq");
    }
    expect_equal(
        "an alias has the state of what it is tied to",
        raw_bytes(engine.full("lm_head", StateKind::kMaster)) == expected.at("model.embed/master"),
        true);
    expect_equal("elements of an empty parameter",
                 engine.full("model.empty", StateKind::kMaster).numel(), 0);

    engine.backward(toy.tensor("head.weight").sum() * 2);
    engine.consensus({}, {}, false);
    expect(at::equal(engine.full("head.weight", StateKind::kGradient), at::full({3, 24}, 6.0)),
           "gradient");
    engine.skip_step();

    engine.set_full("model.up.bias", StateKind::kMaster, at::full({200}, 0.5));
    expect(at::equal(toy.tensor("model.up.bias").detach(), at::full({200}, 0.5)), "set parameter");
    engine.set_full("visual.patch", StateKind::kExpAvg, at::ones({7, 24}));
    expect(at::equal(engine.full("visual.patch", StateKind::kExpAvg), at::ones({7, 24})),
           "set exp_avg");
    bool refused = false;
    try {
      engine.full("model.frozen", StateKind::kMaster);
    } catch (const ConfigError& e) {
      refused = std::string(e.what()).find("model.frozen") != std::string::npos;
    }
    expect(refused, "an unknown name");
  });
}
