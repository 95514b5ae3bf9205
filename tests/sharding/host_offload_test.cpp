// The optimizer in host memory. Parameters on the CPU count as on a device of their own here
// (EngineOptions::apart), so that every copy is real and every thread runs.
#include <catch2/catch_test_macros.hpp>

#include <algorithm>
#include <atomic>
#include <chrono>

#include "base/files.h"
#include "sharding/collectives/collective_cases.h"
#include "sharding/toy.h"

using namespace muster;
using namespace muster::test;

namespace {

void nothing(std::string_view /*what*/, int /*window*/) {}

EngineOptions on_host(EngineOptions options) {
  options.optimizer_device = OptimizerDevice::kHost;
  options.apart = nothing;
  return options;
}

struct StorageKind {
  at::ScalarType type;
  MasterKind master = MasterKind::kFloat32;
  bool bf16_moments = false;
};

const std::vector<StorageKind> kKinds{{at::kFloat},
                                      {at::kBFloat16},
                                      {at::kBFloat16, MasterKind::kSplit},
                                      {at::kBFloat16, MasterKind::kNone, true}};

EngineOptions options_of(const StorageKind& kind, std::int64_t bucket, bool overlap) {
  EngineOptions options = toy_options(bucket, overlap);
  options.master = kind.master;
  options.bf16_moments = kind.bf16_moments;
  options.stochastic_rounding = kind.bf16_moments;
  options.rounding_seed = 5;
  return options;
}

ToyRun toy_run(int world, const StorageKind& kind, EngineOptions options, std::int64_t steps = 8) {
  ToyRun run;
  run.world = world;
  run.options = std::move(options);
  run.type = kind.type;
  run.steps = steps;
  return run;
}

// What happened to windows, in order, over all threads of one rank.
class Diary {
 public:
  void note(std::string_view what, int window) {
    const std::lock_guard lock(mutex_);
    lines_.push_back(std::string(what) + " " + std::to_string(window));
  }
  std::ptrdiff_t place_of(const std::string& line) const {
    const std::lock_guard lock(mutex_);
    return std::find(lines_.begin(), lines_.end(), line) - lines_.begin();
  }
  std::int64_t count(std::string_view what) const {
    const std::lock_guard lock(mutex_);
    return std::count_if(lines_.begin(), lines_.end(),
                         [&](const std::string& line) { return line.starts_with(what); });
  }

 private:
  mutable std::mutex mutex_;
  std::vector<std::string> lines_;
};

// Sleeps for times that differ from piece to piece, so that threads meet in other orders.
void dawdle(std::string_view what, int window) {
  static std::atomic<std::uint64_t> calls{0};
  Rng rng(3, calls++ + what.size() * 1000 + static_cast<std::uint64_t>(window));
  std::this_thread::sleep_for(std::chrono::microseconds(rng.below(400)));
}

}  // namespace

TEST_CASE("an optimizer on the host has the bits of one beside the parameters", "[unit]") {
  for (const StorageKind& kind : kKinds) {
    for (const int world : {1, 2, 4}) {
      for (const bool overlap : {false, true}) {
        INFO("world " << world << " overlap " << overlap << " master "
                      << static_cast<int>(kind.master));
        const EngineOptions options = options_of(kind, 2048, overlap);
        CHECK(first_difference(train_toy(toy_run(world, kind, options)),
                               train_toy(toy_run(world, kind, on_host(options)))) == "");
      }
    }
  }
}

TEST_CASE("an optimizer on the host: late copies and updates change no bit", "[unit]") {
  for (const int world : {1, 2, 4}) {
    INFO("world " << world);
    EngineOptions options = on_host(toy_options(1024));
    options.apart = dawdle;
    CHECK(first_difference(train_toy(toy_run(world, {at::kFloat}, toy_options(1024))),
                           train_toy(toy_run(world, {at::kFloat}, options))) == "");
  }
}

TEST_CASE("an optimizer on the host goes with native reduction and local accumulation", "[unit]") {
  for (const ReduceKind reduce : {ReduceKind::kOrdered, ReduceKind::kNative}) {
    for (const std::int64_t budget : {0, 16384}) {
      EngineOptions options = toy_options(2048);
      options.reduce = reduce;
      options.accumulation_budget_bytes = budget;
      ToyRun run = toy_run(2, {at::kFloat}, options);
      run.tell_last = budget == 0;
      const State beside = train_toy(run);
      run.options = on_host(options);
      CHECK(first_difference(beside, train_toy(run)) == "");
    }
  }
}

TEST_CASE("gradients are fetched during backward; updates, copies back and the caller overlap",
          "[unit]") {
  Diary diary;
  EngineOptions options = on_host(toy_options(1024));
  options.apart = [&](std::string_view what, int window) {
    diary.note(what, window);
    if (what == "update") std::this_thread::sleep_for(std::chrono::milliseconds(4));
  };
  constexpr int kWindows = 12;  // one parameter each
  std::vector<NamedTensor> named;
  for (int i = 0; i < kWindows; ++i)
    named.push_back(
        {"p" + std::to_string(i), random_tensor({256}, static_cast<std::uint64_t>(i), 1)});
  ZeroEngine engine(ParamRegistry(named, {{"all", {"p"}, 0.1}}, true), make_self(), options);

  // The gradient that comes last waits for the first fetch, so that this one is seen to come while
  // backward runs.
  bool fetched = false;
  named.front().tensor.register_hook([&](const at::Tensor& gradient) {
    const auto patience = std::chrono::steady_clock::now() + std::chrono::seconds(10);
    while (diary.count("fetch") == 0 && std::chrono::steady_clock::now() < patience)
      std::this_thread::yield();
    fetched = diary.count("fetch") > 0;
    return gradient;
  });
  at::Tensor loss = at::zeros({});
  for (const NamedTensor& t : named) loss = loss + t.tensor.dot(t.tensor);
  engine.backward(loss, true);
  CHECK(fetched);
  const StepVerdict verdict = engine.consensus({}, {}, false);
  CHECK(diary.count("update") == 0);  // the exact norm comes first
  const double rates[]{1e-3};
  engine.step(rates, verdict);
  CHECK(diary.count("update") < kWindows);  // step() does not wait
  engine.await_all();
  CHECK(diary.count("fetch") == kWindows);
  CHECK(diary.count("update") == kWindows);
  CHECK(diary.count("put back") == kWindows);
  const std::string last = std::to_string(kWindows - 1);
  CHECK(diary.place_of("update " + last) < diary.place_of("put back " + last));
  CHECK(diary.place_of("put back " + last) < diary.place_of("update 0"));
}

TEST_CASE("an optimizer on the host holds what is planned, there and on the device", "[unit]") {
  for (const StorageKind& kind : kKinds) {
    on_ranks(3, [&](std::shared_ptr<Collective> collective) {
      const Toy toy(kind.type);
      ZeroEngine engine(toy_registry(toy), std::move(collective),
                        on_host(options_of(kind, 2048, true)));
      toy_step(engine, toy, 0, 6);
      expect_equal("bytes held", engine.bytes(), engine.planned_bytes());
      expect_equal("moments on the device", engine.bytes().moments, 0);
      expect_equal("masters on the device", engine.bytes().master, 0);
      expect(engine.bytes().host.moments > 0, "moments are on the host");
    });
  }
}

TEST_CASE("a skipped step leaves an optimizer on the host alone", "[unit][fault]") {
  const auto train = [](bool host) {
    const Toy toy;
    ZeroEngine engine(toy_registry(toy), make_self(),
                      host ? on_host(toy_options(1024)) : toy_options(1024));
    toy_step(engine, toy, 0, 4);
    engine.backward(toy.loss(5) * std::numeric_limits<float>::quiet_NaN(), true);
    const StepVerdict verdict = engine.consensus({}, {}, false);
    expect(!verdict.finite, "a NaN is found");
    engine.skip_step();
    engine.empty_partition_cache();
    toy_step(engine, toy, 1, 4);
    engine.await_all();
    State state;
    add_state(engine, state);
    return state;
  };
  CHECK(first_difference(train(false), train(true)) == "");
}

TEST_CASE("a run moves between device and host at a resume with the same bits", "[unit]") {
  for (const StorageKind& kind : kKinds) {
    const EngineOptions beside = options_of(kind, 2048, true);
    const State whole = train_toy(toy_run(2, kind, beside, 6));
    for (const bool to_host : {true, false}) {
      INFO("master " << static_cast<int>(kind.master) << (to_host ? " to the host" : " back"));
      const TempDir dir;
      const EngineOptions first = to_host ? beside : on_host(beside);
      const EngineOptions second = to_host ? on_host(beside) : beside;
      std::mutex mutex;
      on_ranks(2, [&](std::shared_ptr<Collective> collective) {
        const Toy toy(kind.type);
        const int rank = collective->rank();
        ZeroEngine engine(toy_registry(toy), std::move(collective), first);
        for (std::int64_t step = 0; step < 3; ++step) toy_step(engine, toy, step, 12);
        // No await: the snapshot itself waits for updates on their way.
        ZeroEngine::write(*engine.snapshot(), dir.path() / std::to_string(rank));
      });
      State state;
      on_ranks(2, [&](std::shared_ptr<Collective> collective) {
        const Toy toy(kind.type);
        ZeroEngine engine(toy_registry(toy), std::move(collective), second);
        engine.load({dir.path() / "0", dir.path() / "1"});
        for (std::int64_t step = 3; step < 6; ++step) toy_step(engine, toy, step, 12);
        engine.await_all();
        const std::lock_guard lock(mutex);
        add_state(engine, state);
      });
      state["norms"] = whole.at("norms");  // of other steps
      CHECK(first_difference(whole, state) == "");
    }
  }
}

TEST_CASE("full() and set_full() reach an optimizer on the host", "[unit]") {
  const Toy toy;
  ZeroEngine engine(toy_registry(toy), make_self(), on_host(toy_options(1024)));
  const at::Tensor ones = at::ones({3, Toy::kHidden});
  engine.set_full("head.weight", StateKind::kMaster, ones);
  engine.set_full("head.weight", StateKind::kExpAvg, ones * 2);
  CHECK(at::equal(toy.tensor("head.weight"), ones));
  CHECK(at::equal(engine.full("head.weight", StateKind::kMaster), ones));
  CHECK(at::equal(engine.full("head.weight", StateKind::kExpAvg), ones * 2));

  // A gradient that was set is what the update takes: with none of its own it moves by momentum.
  engine.backward(toy.loss(1), true);
  const StepVerdict verdict = engine.consensus({}, {}, false);
  engine.set_full("head.weight", StateKind::kGradient, at::zeros_like(ones));
  engine.step(kToyRates, verdict);
  engine.await_all();
  CHECK(at::equal(engine.full("head.weight", StateKind::kExpAvgSq), at::zeros_like(ones)));
}

TEST_CASE("parameters on the CPU have their optimizer beside them whatever is said", "[unit]") {
  const Toy toy;
  EngineOptions options = toy_options();
  options.optimizer_device = OptimizerDevice::kHost;
  const ZeroEngine engine(toy_registry(toy), make_self(), options);
  CHECK(engine.bytes().host.total() == 0);
  CHECK(engine.bytes().moments > 0);
}
