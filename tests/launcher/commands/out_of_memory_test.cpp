// What a rank says when its memory is not enough.
#include "launcher/commands/out_of_memory.h"

#include <ATen/ops/empty.h>

#include <catch2/catch_test_macros.hpp>
#include <catch2/matchers/catch_matchers_string.hpp>

#include "base/files.h"
#include "base/flight_recorder.h"
#include "launcher/rank/rank_status.h"
#include "support/test_paths.h"

using namespace muster;

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
      configs::load(test::source_dir() / "tests" / "support" / "plain_demo.yaml",
                    std::vector<std::string>{
                        "model.path=" + (test::source_dir() / "configs/models/demo").string()}),
      2);
  for (const char* holder :
       {"parameters", "moments shard", "activations", "total", "resident at the peak",
        "model.checkpoint_language=true", "batch.max_tokens"})
    CHECK_THAT(report, Catch::Matchers::ContainsSubstring(holder));
}
