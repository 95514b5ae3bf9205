// The simulator against limits that are known, and against the engine itself: ranks as threads,
// computing replaced by sleeps, and a delay per byte on every collective.
#include <torch/csrc/autograd/custom_function.h>

#include <algorithm>
#include <catch2/catch_approx.hpp>
#include <catch2/catch_test_macros.hpp>
#include <chrono>

#include "sharding/plan/simulator.h"
#include "sharding/toy.h"

using namespace muster;
using namespace muster::test;
using Catch::Approx;

namespace {

constexpr int kWindows = 6;
constexpr std::int64_t kWindowElements = 16384;  // one parameter fills one window

// Six equal windows; forward 60 ms, backward 120 ms, one rank per node unless said otherwise.
SimulationInput six_windows(int world, double bytes_per_s) {
  SimulationInput input;
  input.trainable_elements = kWindows * kWindowElements;
  input.bucket_bytes = kWindowElements * 4;
  input.world_size = world;
  input.forward_s = 0.060;
  input.backward_s = 0.120;
  input.network = {.ranks_per_node = 8, .node = {0, bytes_per_s}, .cluster = {0, bytes_per_s}};
  return input;
}

// Bandwidth at which one window's collective takes `seconds`.
double bandwidth_for(double seconds, int world) {
  return static_cast<double>(kWindowElements) * 4 * (world - 1) / world / seconds;
}

void rest(double seconds) { std::this_thread::sleep_for(std::chrono::duration<double>(seconds)); }

// Takes as long as its bytes say, on top of what it takes.
class SlowLink final : public Collective {
 public:
  SlowLink(std::shared_ptr<Collective> inner, double bytes_per_s)
      : inner_(std::move(inner)), bytes_per_s_(bytes_per_s) {}
  int rank() const override { return inner_->rank(); }
  int size() const override { return inner_->size(); }
  std::string name() const override { return "slow " + inner_->name(); }
  void all_to_all(std::span<const std::byte> send, std::span<std::byte> receive) override {
    delayed([&] { inner_->all_to_all(send, receive); });
  }
  void reduce_scatter_sum(std::span<const std::byte> send, std::span<std::byte> receive,
                          WireDtype type) override {
    delayed([&] { inner_->reduce_scatter_sum(send, receive, type); });
  }
  void all_gather(std::span<std::byte> buffer) override {
    delayed([&] { inner_->all_gather(buffer); });
  }
  void broadcast(std::span<std::byte> buffer, int root) override {
    delayed([&] { inner_->broadcast(buffer, root); });
  }
  void all_reduce_sum(std::span<std::int64_t> values) override {
    delayed([&] { inner_->all_reduce_sum(values); });
  }

 private:
  template <typename Call>
  void delayed(Call call) {
    const std::int64_t before = inner_->stats().bytes_sent;
    call();
    rest(static_cast<double>(inner_->stats().bytes_sent - before) / bytes_per_s_);
    stats_ = inner_->stats();
  }
  std::shared_ptr<Collective> inner_;
  double bytes_per_s_;
};

// Sleeps in backward, before the gradients below it are made.
struct SleepInBackward : torch::autograd::Function<SleepInBackward> {
  static at::Tensor forward(torch::autograd::AutogradContext* ctx, const at::Tensor& x,
                            double seconds) {
    ctx->saved_data["seconds"] = seconds;
    return x.clone();
  }
  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* ctx,
                                                 torch::autograd::variable_list grads) {
    rest(ctx->saved_data["seconds"].toDouble());
    return {grads[0], {}};
  }
};

// An optimizer on the host takes the input's times, too.
EngineOptions engine_options(const SimulationInput& input) {
  EngineOptions options = toy_options(input.bucket_bytes, input.overlap);
  if (!input.update_on_host) return options;
  options.optimizer_device = OptimizerDevice::kHost;
  options.apart = [&input](std::string_view what, int /*window*/) {
    if (what == "fetch") rest(input.fetch_s / kWindows);
    if (what == "update") rest(input.update_s / kWindows);
    if (what == "put back") rest(input.put_back_s / kWindows);
  };
  return options;
}

// The engine's own step under the input's compute times and bandwidth; the median of the slowest
// rank's.
double measured_step(const SimulationInput& input) {
  std::vector<double> slowest(9, 0.0);
  std::mutex mutex;
  on_ranks(input.world_size, [&](std::shared_ptr<Collective> threads) {
    std::vector<NamedTensor> named;
    for (int i = 0; i < kWindows; ++i)
      named.push_back({"p" + std::to_string(i) + ".", at::ones({kWindowElements})});
    const auto link = std::make_shared<SlowLink>(threads, input.network.node.bytes_per_s);
    ZeroEngine engine(ParamRegistry(named, {{"all", {"p"}, 0.0}}, false), link,
                      engine_options(input));
    const double rates[]{1e-3};
    for (double& slowest_of_step : slowest) {
      const auto start = std::chrono::steady_clock::now();
      for (std::int64_t k = 0; k < input.micro_batches_per_rank; ++k) {
        at::Tensor x = at::zeros({});
        for (const NamedTensor& t : named) {
          engine.await(t.name);
          rest(input.forward_s / kWindows);
          x = SleepInBackward::apply(x + t.tensor.sum(), input.backward_s / kWindows);
        }
        engine.backward(x, /*last=*/k + 1 == input.micro_batches_per_rank);
      }
      engine.step(rates, engine.consensus({}, {}, false));
      engine.empty_partition_cache();
      const double took =
          std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
      const std::lock_guard lock(mutex);
      slowest_of_step = std::max(slowest_of_step, took);
    }
    engine.await_all();
  });
  slowest.erase(slowest.begin(),
                slowest.begin() + 2);  // the first ones have no gathers to wait for
  std::nth_element(slowest.begin(), slowest.begin() + 3, slowest.end());
  return slowest[3];
}

// A loaded machine only ever adds time, so the best of several tries counts.
double relative_error(const SimulationInput& input, double tolerance) {
  const double predicted = simulate_step(input).step_s;
  double best = 1e9;
  for (int attempt = 0; attempt < 6 && best > tolerance; ++attempt) {
    best = std::min(best, std::abs(measured_step(input) / predicted - 1));
  }
  return best;
}

}  // namespace

TEST_CASE("simulator: limits that can be worked out by hand", "[unit]") {
  SECTION("one rank only computes") {
    const Simulation one = simulate_step(six_windows(1, 1));
    CHECK(one.step_s == Approx(0.180));
    CHECK(one.exposed_s == Approx(0).margin(1e-12));
    CHECK(one.sent_bytes == 0);
  }
  SECTION("without overlap everything adds up") {
    SimulationInput input = six_windows(4, bandwidth_for(0.010, 4));
    input.overlap = false;
    CHECK(simulate_step(input).step_s == Approx(0.180 + 12 * 0.010));
  }
  SECTION("a fast link hides all but the last reduction and the first gather") {
    const Simulation s = simulate_step(six_windows(4, bandwidth_for(0.005, 4)));
    CHECK(s.exposed_s == Approx(2 * 0.005));
    CHECK(s.wire_s == Approx(12 * 0.005));
    CHECK(s.sent_bytes == 2 * kWindows * kWindowElements * 4 * 3 / 4);
  }
  SECTION("a slow link is the step") {
    const Simulation s = simulate_step(six_windows(2, bandwidth_for(0.100, 2)));
    CHECK(s.step_s > 12 * 0.100);
    CHECK(s.step_s < 12 * 0.100 + 0.060);
  }
  SECTION("a host's update hides behind the next forward, but for the first window's") {
    SimulationInput input = six_windows(1, 1);
    input.update_on_host = true;
    input.update_s = 0.036;
    input.put_back_s = 0.012;
    input.fetch_s = 0.024;
    CHECK(simulate_step(input).step_s == Approx(0.180 + 0.004 + 0.006 + 0.002));
    input.update_on_host = false;
    CHECK(simulate_step(input).step_s == Approx(0.180 + 0.036));
    input.update_on_host = true;
    input.overlap = false;
    CHECK(simulate_step(input).step_s > 0.180 + 0.036 + 0.012);
  }
  SECTION("a tied parameter at the end of the space delays what lies after it") {
    SimulationInput input = six_windows(4, bandwidth_for(0.015, 4));
    const double free = simulate_step(input).step_s;
    input.deferred_from = 2 * kWindowElements;
    CHECK(simulate_step(input).step_s > free + 0.030);
  }
  SECTION("windows kept local are reduced once for all micro-batches") {
    SimulationInput input = six_windows(4, bandwidth_for(0.005, 4));
    input.micro_batches_per_rank = 3;
    CHECK(simulate_step(input).wire_s == Approx(4 * 6 * 0.005));
    input.accumulation_budget_bytes = 2 * kWindowElements * 4;
    CHECK(simulate_step(input).wire_s == Approx((3 * 4 + 2 + 6) * 0.005));
  }
  SECTION("events cover the step and never overlap on a lane") {
    const Simulation s = simulate_step(six_windows(4, bandwidth_for(0.018, 4)));
    for (const bool wire : {false, true}) {
      double last = 0;
      for (const SimulatedEvent& e : s.events) {
        if (on_wire(e.work) != wire) continue;
        CHECK(e.begin_s >= last - 1e-12);
        last = e.end_s;
      }
    }
  }
}

TEST_CASE("simulator: nodes", "[unit]") {
  const Network network{.ranks_per_node = 8, .node = {0, 100e9}, .cluster = {0, 10e9}};
  const std::int64_t bytes = 1 << 30;
  // 64 ranks: 56/64 of a rank's chunks leave the node; a gather fetches them once per node, an
  // eighth per rank.
  CHECK(all_to_all_seconds(bytes, 64, network) == Approx(bytes * 56.0 / 64 / 10e9));
  CHECK(all_gather_seconds(bytes, 64, network) == Approx(bytes * 56.0 / 64 / 8 / 10e9));
  CHECK(all_gather_seconds(bytes, 8, network) == Approx(bytes * 7.0 / 8 / 100e9));
  SimulationInput input = six_windows(64, 1);
  input.network = network;
  const double ordered = simulate_step(input).wire_s;
  input.native_reduce = true;
  CHECK(simulate_step(input).wire_s < ordered);
  // Eight ranks of a node exchange first; an eighth of the bytes goes on, to 7 of 8 nodes.
  CHECK(tree_seconds(bytes, 4, 64, network) ==
        Approx(bytes * 7.0 / 8 / 100e9 + bytes / 8.0 * 7 / 8 / 10e9));
  CHECK(tree_seconds(bytes, 2, 64, network) ==
        Approx(bytes * 7.0 / 8 / 100e9 + 2 * bytes / 8.0 * 7 / 8 / 10e9));
  CHECK(tree_seconds(bytes, 4, 8, network) == Approx(all_to_all_seconds(bytes, 8, network)));
  input.native_reduce = false;
  input.tree_reduce = true;
  CHECK(simulate_step(input).wire_s < ordered);
}

// A message costs its sender 1 us: all-to-all sends one to every rank, circles of circles few. The
// figures are `muster plan --simulate`'s own.
TEST_CASE("simulator: a tree scales where all-to-all does not", "[unit]") {
  const Network network{
      .ranks_per_node = 8, .node = {10e-6, 300e9}, .cluster = {20e-6, 40e9}, .message_s = 1e-6};
  const std::int64_t bytes = 64 << 20;
  CHECK(all_to_all_seconds(bytes, 4096, network) > 4095e-6);
  CHECK(tree_seconds(bytes, 2, 4096, network) < 1e-3);
  CHECK(tree_seconds(bytes, 2, 4096, network) < 1.1 * tree_seconds(bytes, 2, 512, network));
}

// Sleeps stand for computing, so that the two cores of a busy machine do not matter; noise only
// lengthens a step.
TEST_CASE("simulator: within 10 % of the engine over a link with a delay per byte", "[unit]") {
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
  SKIP("an instrumented engine takes its own time");
#endif
  constexpr double kTolerance = 0.10;
  SECTION("computing hides most of it") {
    CHECK(relative_error(six_windows(2, bandwidth_for(0.012, 2)), kTolerance) < kTolerance);
  }
  SECTION("the wire is the bottleneck, staging runs out") {
    CHECK(relative_error(six_windows(3, bandwidth_for(0.040, 3)), kTolerance) < kTolerance);
  }
  SECTION("two micro-batches, no overlap") {
    SimulationInput input = six_windows(2, bandwidth_for(0.020, 2));
    input.overlap = false;
    input.micro_batches_per_rank = 2;
    CHECK(relative_error(input, kTolerance) < kTolerance);
  }
  SECTION("the optimizer is on the host, and slow") {
    SimulationInput input = six_windows(2, bandwidth_for(0.012, 2));
    input.update_on_host = true;
    input.fetch_s = 0.060;
    input.update_s = 0.180;
    input.put_back_s = 0.060;
    CHECK(relative_error(input, kTolerance) < kTolerance);
    const double measured = measured_step(input);
    input.update_s /= 2;
    CHECK(std::abs(measured / simulate_step(input).step_s - 1) > kTolerance);
  }
  SECTION("negative control: half the delay is not within 10 %") {
    SimulationInput wrong = six_windows(2, bandwidth_for(0.040, 2));
    const double measured = measured_step(wrong);
    wrong.network.node.bytes_per_s *= 2;
    CHECK(std::abs(measured / simulate_step(wrong).step_s - 1) > kTolerance);
  }
}
