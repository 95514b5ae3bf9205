// Hidden: run with `test_sharding [speed]`. Prints what the engine costs in CPU time of the main
// thread; asserts nothing about time.
#include <array>
#include <catch2/catch_test_macros.hpp>
#include <cstdio>
#include <ctime>

#include "sharding/engine_core.h"
#include "sharding/kernels/exact_sum.h"
#include "sharding/kernels/kernels.h"
#include "sharding/toy.h"

using namespace muster;
using namespace muster::test;

namespace {

constexpr std::int64_t kElements = 16 << 20;

// CPU time of this thread, so that a busy machine does not count.
double now() {
  timespec time{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
  return static_cast<double>(time.tv_sec) + 1e-9 * static_cast<double>(time.tv_nsec);
}

template <typename Body>
double once(Body body) {
  const double start = now();
  body();
  return now() - start;
}

// The fastest of five.
template <typename Body>
double seconds(Body body) {
  double best = 1e9;
  for (int i = 0; i < 5; ++i) best = std::min(best, once(body));
  return best;
}

void report(const char* what, double time) {
  std::printf("%-44s %8.1f ms  %6.2f ns/param\n", what, time * 1e3, time * 1e9 / kElements);
}

}  // namespace

TEST_CASE("fused AdamW on 16 Mi parameters", "[.][speed]") {
  const auto kernels = make_cpu_kernels();
  const at::Tensor p = at::ones({kElements}), g = at::full({kElements}, 0.01),
                   m = at::zeros({kElements}), v = at::zeros({kElements});
  const at::Tensor low = at::zeros({kElements}, at::kBFloat16), t = at::tensor(1.0F);
  AdamWRun run{.gradient = g,
               .parameter = p,
               .master = p,
               .remainder = {},
               .exp_avg = m,
               .exp_avg_sq = v,
               .scale = 0.5,
               .lr = 1e-3,
               .weight_decay = 0.1,
               .beta1 = 0.9,
               .beta2 = 0.95,
               .eps = 1e-8,
               .step = 1};
  report("fused AdamW, fp32", seconds([&] { kernels->adamw(run); }));
  run.parameter = low;
  report("fused AdamW, fp32 master and bf16 out", seconds([&] { kernels->adamw(run); }));
  run.squares = at::zeros({2, ExactSum::kLimbs}, at::kLong);
  report("the same, measured", seconds([&] { kernels->adamw(run); }));
  report("at::_fused_adamw_, fp32, no clipping", seconds([&] {
           at::_fused_adamw_({p}, {g}, {m}, {v}, {}, {t}, 1e-3, 0.9, 0.95, 0.1, 1e-8, false, false);
         }));
  const at::Tensor limbs = at::zeros({19}, at::kLong), bad = at::zeros({1}, at::kByte);
  report("exact norm", seconds([&] { kernels->add_squares(g, limbs, bad); }));
  report("copy to the wire with the finite check",
         seconds([&] { kernels->to_wire(g, v, false, bad); }));
  report("add one rank to the accumulator", seconds([&] {
           kernels->accumulate(std::array{bytes_of(g).data()}, at::kFloat, m, false);
         }));
}

TEST_CASE("engine overhead on 16 parameters of 1 Mi", "[.][speed]") {
  for (const bool overlap : {false, true}) {
    std::vector<NamedTensor> named;
    for (int i = 0; i < 16; ++i)
      named.push_back({"p" + std::to_string(i), at::full({1024, 1024}, 1e-3)});
    ZeroEngine engine(ParamRegistry(named, {{"all", {"p"}, 0.1}}, false), make_self(),
                      toy_options(16 << 20, overlap));
    const auto loss = [&] {
      at::Tensor sum = at::zeros({});
      for (const NamedTensor& t : named) sum = sum + t.tensor.sum();
      return sum;
    };
    const double rates[]{1e-3};
    StepVerdict verdict;
    double backward = 1e9, consensus = 1e9, step = 1e9, cache = 1e9;
    for (int i = 0; i < 3; ++i) {
      backward = std::min(backward, seconds([&] { engine.backward(loss()); }));
      consensus = std::min(consensus, once([&] { verdict = engine.consensus({}, {}, false); }));
      step = std::min(step, once([&] { engine.step(rates, verdict); }));
      const double took = once([&] { engine.empty_partition_cache(i == 2); });
      if (i == 2)
        report("empty_partition_cache with malloc_trim", took);
      else
        cache = std::min(cache, took);
    }
    std::printf("world 1, %s\n", overlap ? "overlap" : "inline");
    report("  forward, backward, reduction", backward);
    report("  consensus", consensus);
    report("  step", step);
    report("  empty_partition_cache", cache);
  }
}
