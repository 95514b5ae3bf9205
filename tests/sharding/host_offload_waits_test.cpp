// The waits of an optimizer on the host: the thread that is waited for is made late on purpose.
// Without the wait in put_back(), in skip_step() or in snapshot() the test of its name fails.
#include <catch2/catch_test_macros.hpp>

#include <atomic>
#include <chrono>
#include <string>
#include <string_view>
#include <vector>

#include "sharding/toy.h"

using namespace muster;
using namespace muster::test;

namespace {

constexpr int kWindows = 6;  // one parameter each

// An engine over parameters whose gradients do not depend on their values, so that a forward pass
// asks for none of them.
struct Rig {
  explicit Rig(EngineOptions options)
      : named(make_parameters()),
        engine(ParamRegistry(named, {{"all", {"p"}, 0.1}}, true), make_self(), std::move(options)) {
  }

  static std::vector<NamedTensor> make_parameters() {
    std::vector<NamedTensor> made;
    for (std::uint64_t i = 0; i < kWindows; ++i)
      made.push_back({"p" + std::to_string(i), random_tensor({256}, i, 1)});
    return made;
  }

  StepVerdict backward(std::uint64_t step, float scale = 1) {
    at::Tensor loss = at::zeros({});
    for (std::uint64_t i = 0; i < kWindows; ++i)
      loss = loss + named[i].tensor.dot(random_tensor({256}, 100 * step + i, 1) * scale);
    engine.backward(loss, true);
    return engine.consensus({}, {}, false);
  }

  void step(std::uint64_t number) {
    const double rates[]{1e-2};
    const StepVerdict verdict = backward(number);
    engine.step(rates, verdict);
  }

  at::Tensor parameters() const {
    std::vector<at::Tensor> all;
    for (const NamedTensor& t : named) all.push_back(t.tensor.detach());
    return at::cat(all);
  }

  std::vector<NamedTensor> named;
  ZeroEngine engine;
};

EngineOptions beside() { return toy_options(1024); }

// On the host, where each piece of work called `late` begins only after a while.
EngineOptions on_host(std::string_view late, std::atomic<int>* begun = nullptr) {
  EngineOptions options = toy_options(1024);
  options.optimizer_device = OptimizerDevice::kHost;
  options.apart = [late, begun](std::string_view what, int /*window*/) {
    if (what != late) return;
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
    if (begun != nullptr) ++*begun;
  };
  return options;
}

at::Tensor parameters_after(const EngineOptions& options, std::uint64_t steps) {
  Rig rig(options);
  for (std::uint64_t k = 0; k < steps; ++k) rig.step(k);
  rig.engine.await_all();
  return rig.parameters();
}

}  // namespace

TEST_CASE("a window is copied back when its update is done, not before", "[unit]") {
  CHECK(at::equal(parameters_after(on_host("update"), 1), parameters_after(beside(), 1)));
}

// No wait of its own holds this: reductions queue behind the gathers of the step before, which wait
// for the updates, which run behind the fetches.
TEST_CASE("a step's gradients are on the host before the next step's take their place", "[unit]") {
  CHECK(at::equal(parameters_after(on_host("fetch"), 3), parameters_after(beside(), 3)));
}

TEST_CASE("a snapshot has every update that was asked for", "[unit]") {
  const auto snapshot_of = [](const EngineOptions& options) {
    Rig rig(options);
    rig.step(0);
    return rig.engine.snapshot();  // nothing is awaited
  };
  const auto late = snapshot_of(on_host("update")), whole = snapshot_of(beside());
  CHECK(at::equal(late->tensors.master, whole->tensors.master));
  CHECK(at::equal(late->tensors.exp_avg, whole->tensors.exp_avg));
  CHECK(at::equal(late->tensors.exp_avg_sq, whole->tensors.exp_avg_sq));
}

TEST_CASE("a skipped step leaves no copy on its way to the host", "[unit][fault]") {
  std::atomic<int> fetched{0};
  Rig rig(on_host("fetch", &fetched));
  CHECK_FALSE(rig.backward(0, std::numeric_limits<float>::quiet_NaN()).finite);
  rig.engine.skip_step();
  CHECK(fetched == kWindows);
}
