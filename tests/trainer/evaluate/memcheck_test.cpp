#include "trainer/evaluate/memcheck.h"
#include "trainer/train_loop.h"

#include <ATen/ATen.h>

#include <catch2/catch_approx.hpp>
#include <catch2/catch_test_macros.hpp>

#include "trainer/tiny_run.h"

using namespace muster;
using namespace muster::test;

namespace {

trainer::MemoryReport check_tiny(std::int64_t steps,
                                 const std::function<void(std::int64_t)>& after_step) {
  const TempDir dir;
  sharding::TensorMeter meter;
  trainer::Trainer trainer(tiny_config(dir.path()), sharding::make_self());
  return trainer::check_memory(
      trainer.engine(), [&] { trainer.train_step(); }, meter, steps, after_step);
}

}  // namespace

TEST_CASE("the tensor meter counts what lives, by phase and size", "[unit]") {
  sharding::TensorMeter meter;
  sharding::TensorMeter::enter(Phase::kForward);
  const auto before = meter.live().total();
  const at::Tensor kept = at::empty({1 << 20}, at::kByte);
  {
    const at::Tensor gone = at::empty({3 << 20}, at::kByte);
    CHECK(meter.live().total() - before == 4 << 20);
  }
  CHECK(meter.live().total() - before == 1 << 20);
  CHECK(meter.peak() - before == 4 << 20);
  CHECK(meter.blocks().at({Phase::kForward, 1 << 20}) == 1);
}

TEST_CASE("tensors of a step are all gone after it: slope exactly 0", "[unit]") {
  const trainer::MemoryReport report = check_tiny(24, {});
  INFO(report.culprit());
  CHECK(report.tensors.slope.flat);
  CHECK(report.tensors.slope.bytes_per_step == 0.0);
  CHECK(report.growing.empty());
  CHECK(report.tensor_peak > report.tensors.samples.back());
}

TEST_CASE("a planted leak of 16 KiB a step is found, sized, and named by its phase", "[unit]") {
  std::vector<at::Tensor> planted;
  const trainer::MemoryReport report = check_tiny(48, [&](std::int64_t) {
    sharding::TensorMeter::enter(Phase::kOptimizer);
    planted.push_back(at::zeros({16 << 10}, at::kByte));
  });
  CHECK_FALSE(report.tensors.slope.flat);
  CHECK(report.tensors.slope.bytes_per_step == Catch::Approx(16 << 10).epsilon(0.001));
  REQUIRE_FALSE(report.growing.empty());
  CHECK(report.growing.front().phase == Phase::kOptimizer);
  CHECK(report.growing.front().block_bytes == 16 << 10);
  CHECK(report.culprit().find("optimizer") != std::string::npos);
}

TEST_CASE("200 steps with epoch ends: nothing grows", "[.][slow]") {
  const trainer::MemoryReport report = check_tiny(200, {});
  INFO(report.culprit());
  CHECK(report.flat());
  CHECK(report.tensors.slope.bytes_per_step == 0.0);
}
