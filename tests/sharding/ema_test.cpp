// The running mean of the weights: its formula, its bits (law 9), its place in files, and the
// weights that are shown instead of the trained ones.
#include <catch2/catch_approx.hpp>
#include <catch2/catch_test_macros.hpp>
#include <cmath>

#include "base/files.h"
#include "sharding/toy.h"
#include "support/test_paths.h"

using namespace muster::test;

namespace {

EngineOptions with_mean(std::int64_t bucket_bytes = 4096, bool overlap = true) {
  EngineOptions options = toy_options(bucket_bytes, overlap);
  options.ema = {.decay = 0.9, .tau = 5};
  return options;
}

std::map<std::string, at::Tensor> masters(ZeroEngine& engine, StateKind kind) {
  std::map<std::string, at::Tensor> all;
  for (const Param& p : engine.registry().trainable()) all[p.name] = engine.full(p.name, kind);
  return all;
}

}  // namespace

TEST_CASE("the mean is that of a loop over the masters, step by step", "[unit]") {
  const Toy toy;
  ZeroEngine engine(toy_registry(toy), make_self(), with_mean());
  std::map<std::string, at::Tensor> mean = masters(engine, StateKind::kMaster);
  for (std::int64_t step = 0; step < 6; ++step) {
    toy_step(engine, toy, step, 12);
    const double decay = 0.9 * (1 - std::exp(-static_cast<double>(step + 1) / 5));
    for (auto& [name, master] : masters(engine, StateKind::kMaster)) {
      if (name == "model.unused") continue;  // never updated
      mean[name] += static_cast<float>(1 - decay) * (master - mean[name]);
      INFO(name);
      CHECK(engine.full(name, StateKind::kEma).equal(mean[name]));
    }
  }
}

TEST_CASE("law 9: the mean has the same bits for every bucket, overlap and world size", "[unit]") {
  const State expected = train_toy({.world = 1, .options = with_mean(1 << 20, false)});
  REQUIRE(expected.contains("head.weight/ema"));
  for (const int world : {1, 2, 3, 4}) {
    for (const bool overlap : {false, true}) {
      CAPTURE(world, overlap);
      CHECK(first_difference(
                expected, train_toy({.world = world, .options = with_mean(3000, overlap)})) == "");
    }
  }
}

TEST_CASE("negative control: another decay is another mean, and the same weights", "[unit]") {
  ToyRun run{.world = 2, .options = with_mean(), .steps = 4};
  const State one = train_toy(run);
  run.options.ema.decay = 0.5;
  const State other = train_toy(run);
  CHECK(one.at("head.weight/master") == other.at("head.weight/master"));
  CHECK(one.at("head.weight/ema") != other.at("head.weight/ema"));
}

TEST_CASE("shown, every rank's parameters are the mean; hidden, what they were", "[unit]") {
  for (const at::ScalarType type : {at::kFloat, at::kBFloat16}) {
    for (const int world : {1, 2, 3}) {
      on_ranks(world, [&](std::shared_ptr<Collective> collective) {
        const Toy toy(type);
        ZeroEngine engine(toy_registry(toy), std::move(collective), with_mean());
        for (std::int64_t step = 0; step < 3; ++step) toy_step(engine, toy, step, 12);
        engine.await_all();
        const at::Tensor before = toy.tensor("model.embed").detach().clone();
        const at::Tensor mean = engine.full("model.embed", StateKind::kEma);
        const at::Tensor master = engine.full("model.embed", StateKind::kMaster);
        engine.show_ema();
        TORCH_CHECK(toy.tensor("model.embed").equal(mean.to(type)), "not the mean");
        TORCH_CHECK(!toy.tensor("model.embed").equal(before), "nothing was shown");
        TORCH_CHECK(engine.full("model.embed", StateKind::kMaster).equal(master),
                    "the master is the mean");
        engine.hide_ema();
        TORCH_CHECK(toy.tensor("model.embed").equal(before), "not what it was");
      });
    }
  }
}

TEST_CASE("law 9: a run with a mean continues from its files on other ranks", "[unit]") {
  const muster::TempDir dir;
  const ToyRun whole{.world = 1, .options = with_mean(), .steps = 8};
  const State expected = train_toy(whole);
  std::vector<std::filesystem::path> files;
  for (int r = 0; r < 2; ++r) files.push_back(dir.path() / ("shard-" + std::to_string(r) + ".h5"));
  on_ranks(2, [&](std::shared_ptr<Collective> collective) {
    const int rank = collective->rank();
    const Toy toy;
    ZeroEngine engine(toy_registry(toy), std::move(collective), with_mean());
    for (std::int64_t step = 0; step < 5; ++step) toy_step(engine, toy, step, 12);
    ZeroEngine::write(*engine.snapshot(), files[static_cast<std::size_t>(rank)]);
  });
  State rest;
  std::mutex mutex;
  on_ranks(3, [&](std::shared_ptr<Collective> collective) {
    const Toy toy;
    ZeroEngine engine(toy_registry(toy), std::move(collective), with_mean());
    engine.load(files);
    for (std::int64_t step = 5; step < 8; ++step) toy_step(engine, toy, step, 12);
    engine.await_all();
    const std::lock_guard lock(mutex);
    add_state(engine, rest);
  });
  for (const std::string what : {"model.embed/ema", "head.weight/ema", "model.embed/master"})
    CHECK((rest.at(what) == expected.at(what)));
}

TEST_CASE("files without a mean start it at the masters", "[unit]") {
  const muster::TempDir dir;
  const std::filesystem::path file = dir.path() / "shard.h5";
  const Toy toy;
  ZeroEngine plain(toy_registry(toy), make_self(), toy_options());
  toy_step(plain, toy, 0, 12);
  ZeroEngine::write(*plain.snapshot(), file);
  const Toy other;
  ZeroEngine engine(toy_registry(other), make_self(), with_mean());
  engine.load({file});
  CHECK(engine.full("head.weight", StateKind::kEma)
            .equal(engine.full("head.weight", StateKind::kMaster)));
}

TEST_CASE("law 7: the mean's bytes are the plan's", "[unit]") {
  for (const int world : {1, 3}) {
    on_ranks(world, [&](std::shared_ptr<Collective> collective) {
      const Toy toy;
      ZeroEngine engine(toy_registry(toy), std::move(collective), with_mean());
      toy_step(engine, toy, 0, 12);
      TORCH_CHECK(engine.bytes() == engine.planned_bytes(), "other bytes than planned");
      TORCH_CHECK(engine.bytes().ema > 0, "no mean");
    });
  }
}
