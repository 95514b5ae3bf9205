// Faults on request in the real program, under mpirun: the run ends with the bits of one that was
// left alone, or with the one right error, and the rank that failed is named. `./run bench faults`
// is the whole matrix; this is a part of it that CI has time for.
#include <fmt/core.h>

#include <catch2/catch_test_macros.hpp>
#include <catch2/matchers/catch_matchers_string.hpp>
#include <chrono>
#include <nlohmann/json.hpp>
#include <sstream>
#include <vector>

#include "base/fault.h"
#include "base/files.h"
#include "base/process/atomic_file.h"
#include "base/process/process_tree.h"
#include "launcher/commands/step_losses.h"
#include "trainer/tiny_run.h"

using namespace muster;
using namespace std::chrono_literals;
using Catch::Matchers::ContainsSubstring;

namespace {

constexpr int kSteps = 8;

struct Run {
  int exit_code = 0;
  std::string output;
  std::string weights;         // checksum of the last checkpoint's
  std::vector<double> losses;  // per step
  nlohmann::json first;        // of the first attempt, in launch.json
};

std::string weights_in(const fs::path& folder) {
  std::string sums;
  if (!fs::is_directory(folder)) return sums;
  std::vector<fs::path> files;
  for (const auto& entry : fs::directory_iterator(folder))
    if (entry.path().extension() == ".safetensors") files.push_back(entry.path());
  std::ranges::sort(files);
  for (const fs::path& file : files) sums += xxh128_file(file);
  return sums;
}

Run run_with(const std::string& fault) {
  const TempDir dir("muster-fault");
  const fs::path run_dir = dir.path() / "run";
  const auto config = test::tiny_config(
      run_dir, {fmt::format("schedule.max_steps={}", kSteps), "checkpoint.every_steps=2",
                "sharding.backend=mpi", "launch.max_restarts=2", "launch.step_timeout_s=5",
                "launch.start_timeout_s=120", "logging.level=info"});
  write_text(dir.path() / "run.yaml", configs::to_yaml(config));
  const auto launched = run_captured({(test::build_dir() / "muster").string(), "launch",
                                      (dir.path() / "run.yaml").string(), "-n", "2"},
                                     180s, {{"MUSTER_FAULT", fault}});
  Run run;
  run.exit_code = launched.exit_code;
  run.output = launched.output;
  run.weights = weights_in(run_dir / "checkpoints" / fmt::format("step-{:06d}", kSteps));
  run.losses = test::step_losses(run_dir / "metrics.jsonl");
  const auto record = nlohmann::json::parse(read_text(run_dir / "launch.json"));
  if (record["attempts"][0].contains("first")) run.first = record["attempts"][0]["first"];
  return run;
}

}  // namespace

TEST_CASE("faults: the same bits as a run that was left alone, or the one right error",
          "[fault][ranks]") {
  if (!fault::compiled()) SKIP("this build has no faults (-DMUSTER_FAULTS=ON)");
  const Run alone = run_with("");
  INFO(alone.output);
  REQUIRE(alone.exit_code == 0);
  REQUIRE(alone.losses.size() == kSteps);
  REQUIRE(!alone.weights.empty());
  for (const char* fault :
       {"rank=1,phase=init,what=exit", "rank=1,step=4,phase=backward,what=sigkill",
        "rank=1,step=3,phase=optimizer,what=throw", "rank=0,step=4,phase=consensus,what=sigstop",
        "rank=1,step=7,phase=data,what=bitflip"}) {
    const Run run = run_with(fault);
    INFO(fault << "\n" << run.output);
    CHECK(run.exit_code == 0);
    CHECK_THAT(run.output, ContainsSubstring("MUSTER_FAULT: it happens now"));
    CHECK(run.weights == alone.weights);
    CHECK(run.losses == alone.losses);
    CHECK(run.first["rank"] == (std::string(fault).starts_with("rank=1") ? 1 : 0));
  }
  const Run clock = run_with("rank=1,step=2,phase=consensus,what=clock");
  INFO(clock.output);
  CHECK(clock.exit_code == 0);
  CHECK(clock.weights == alone.weights);
  CHECK(clock.first.is_null());

  const Run sick = run_with("rank=1,step=3,phase=forward,what=nan");
  INFO(sick.output);
  CHECK(sick.exit_code == 0);  // all ranks skipped that step: it never reached the weights
  CHECK(sick.first.is_null());
  CHECK(sick.weights != alone.weights);
}
