// The memory ladder as the shipped configs have it: every rung loads, holds less, and the same
// samples per step.
#include "launcher/plan/oom_ladder.h"

#include <ATen/ops/empty.h>

#include <catch2/catch_test_macros.hpp>
#include <catch2/matchers/catch_matchers_string.hpp>

#include "base/files.h"
#include "base/flight_recorder.h"
#include "launcher/commands/out_of_memory.h"
#include "launcher/rank/rank_status.h"
#include "support/test_paths.h"

using namespace muster;
using launcher::Rung;

TEST_CASE("memory ladder: recompute first, then half micro-batches and twice as many", "[unit]") {
  const auto file = test::source_dir() / "configs" / "bccd_small.yaml";
  const std::vector<std::string> top{"model.checkpoint_vision=false", "batch.max_samples=5",
                                     "batch.max_tokens=2000", "batch.max_vision_tokens=700",
                                     "data.max_vision_tokens=200"};
  const configs::Config config = configs::load(file, top);
  const std::vector<Rung> ladder = launcher::oom_ladder(config);
  REQUIRE(ladder.size() == 3);  // 5 samples: recompute, 2, 1
  std::int64_t G = config.batch.micro_batches_per_step, samples = config.batch.max_samples;
  for (const Rung& rung : ladder) {
    std::vector<std::string> overrides = top;
    overrides.insert(overrides.end(), rung.overrides.begin(), rung.overrides.end());
    const configs::Config lower = configs::load(file, overrides);
    CHECK(lower.model.checkpoint_vision);
    CHECK(lower.model.checkpoint_language);
    CHECK(lower.batch.max_samples * lower.batch.micro_batches_per_step <= samples * G);
    CHECK(lower.batch.micro_batches_per_step % config.batch.micro_batches_per_step == 0);
    CHECK(lower.batch.max_vision_tokens >= 200);
    samples = lower.batch.max_samples, G = lower.batch.micro_batches_per_step;
  }
  CHECK(samples == 1);
  CHECK(ladder[2].overrides.size() == 6);

  const configs::Config last = configs::load(
      file, std::vector<std::string>{"model.checkpoint_vision=true",
                                     "model.checkpoint_language=true", "batch.max_samples=1"});
  CHECK(launcher::oom_ladder(last).empty());
}

TEST_CASE(
    "out of memory: the allocators' errors are known, others are not; the rank says where and who "
    "holds what",
    "[unit]") {
  CHECK(launcher::is_out_of_memory(std::bad_alloc()));
  CHECK(!launcher::is_out_of_memory(std::runtime_error("out of luck")));
  const TempDir dir;
  try {
    at::empty({std::int64_t{1} << 50});
    FAIL("a PiB was handed out");
  } catch (const std::exception& error) {
    CHECK(launcher::is_out_of_memory(error));
    FlightRecorder box(launcher::flight_file(dir.path(), 2), 2, 4);
    box.set_step(12);
    box.set_micro_batch(1, {});
    box.record(Phase::kForward);
    CHECK_THAT(launcher::out_of_memory_line(error, dir.path(), 2),
               Catch::Matchers::StartsWith(
                   "out of memory in phase forward of step 12, micro-batch 1 (R-001): ") &&
                   Catch::Matchers::ContainsSubstring("allocate"));
  }
  const std::string report = launcher::memory_report(
      configs::load(test::source_dir() / "configs" / "demo.yaml",
                    std::vector<std::string>{
                        "model.path=" + (test::source_dir() / "configs/models/demo").string()}),
      2);
  for (const char* holder : {"parameters", "moments shard", "activations", "total",
                             "resident at the peak", "batch.max_tokens"})
    CHECK_THAT(report, Catch::Matchers::ContainsSubstring(holder));
}
