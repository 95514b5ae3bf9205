// The real program: exit codes that need it, and what it leaves for `status`.
#include <catch2/catch_test_macros.hpp>
#include <catch2/matchers/catch_matchers_string.hpp>
#include <chrono>
#include <nlohmann/json.hpp>

#include "base/files.h"
#include "base/process/atomic_file.h"
#include "base/process/process_tree.h"
#include "trainer/tiny_run.h"

using namespace muster;
using namespace std::chrono_literals;
using Catch::Matchers::ContainsSubstring;

namespace {

struct Program {
  TempDir dir{"muster-e2e"};
  fs::path config = dir.path() / "run.yaml";

  explicit Program(std::vector<std::string> overrides = {}) {
    overrides.insert(overrides.begin(),
                     {"logging.level=info", "sharding.backend=mpi", "launch.max_restarts=0"});
    write_text(config, configs::to_yaml(test::tiny_config(dir.path() / "run", overrides)));
  }
  // stdout and stderr in one.
  CapturedRun run(std::vector<std::string> arguments, const Environment& environment = {}) const {
    arguments.insert(arguments.begin(), (test::build_dir() / "muster").string());
    return run_captured(arguments, 120s, environment);
  }
  CapturedRun launch(const char* ranks, const std::vector<std::string>& more = {},
                     const Environment& environment = {}) const {
    std::vector<std::string> arguments{"launch", config.string(), "-n", ranks};
    arguments.insert(arguments.end(), more.begin(), more.end());
    return run(arguments, environment);
  }
};

}  // namespace

TEST_CASE("program: 64 for a config, 65 for data, 69 for the machine, before any rank starts",
          "[fault]") {
  const Program program;
  const auto typo = program.launch("1", {"--set", "batch.max_tokenz=3"});
  CHECK(typo.exit_code == 64);
  CHECK_THAT(typo.output, ContainsSubstring("max_tokens"));
  CHECK(program.launch("3").exit_code == 64);
  CHECK(program.launch("2", {"--set", "launch.hosts=[one]"}).exit_code == 64);
  const auto no_pack = program.launch("1", {"--set", "data.train=/no/such/train.h5"});
  CHECK(no_pack.exit_code == 65);
  CHECK_THAT(no_pack.output, ContainsSubstring("D-003"));
  const auto nested =
      program.launch("1", {}, {{"OMPI_COMM_WORLD_SIZE", "2"}, {"OMPI_COMM_WORLD_RANK", "0"}});
  CHECK(nested.exit_code == 69);
  CHECK_THAT(nested.output, ContainsSubstring("R-011"));
  CHECK(!fs::exists(program.dir.path() / "run" / "launch.json"));
}

TEST_CASE("program: a rank that runs out of memory leaves with 78 and says who holds what",
          "[fault]") {
  const Program program({"detection.queries=learned",
                         "detection.num_queries=1000000000000"});  // beyond 47 bits of bytes
  const auto run = program.run({"train", program.config.string()});
  INFO(run.output);
  CHECK(run.exit_code == 78);
  CHECK_THAT(run.output, ContainsSubstring("out of memory (R-001): ") &&
                             ContainsSubstring("who holds what") &&
                             ContainsSubstring("resident at the peak"));
  CHECK_THAT(read_text(program.dir.path() / "run" / "black_box" / "rank-0.error"),
             ContainsSubstring("out of memory"));
}

TEST_CASE("program: two ranks to the end, with code 0 and a status; a numeric abort is 77",
          "[fault][ranks]") {
  const Program program({"schedule.max_steps=3", "checkpoint.every_steps=3"});
  const auto run = program.launch("2", {"--color", "never"});
  INFO(run.output);
  REQUIRE(run.exit_code == 0);
  CHECK_THAT(run.output, ContainsSubstring("[rank 0/2 ") && !ContainsSubstring("\x1b["));
  const fs::path run_dir = program.dir.path() / "run";
  const auto status =
      nlohmann::json::parse(program.run({"status", run_dir.string(), "--json"}).output);
  CHECK(status["state"] == "done");
  CHECK(status["step"] == 3);
  CHECK(status["max_steps"] == 3);
  CHECK(status["ranks"][1]["phase"] == "done");
  CHECK(status["ranks"][1]["end"] == "code 0");

  const auto debug = program.launch("2", {"--debug"});
  INFO(debug.output);
  CHECK(debug.exit_code == 0);
  CHECK_THAT(read_text(run_dir / "debug" / "metrics.jsonl"), ContainsSubstring("\"step\": 4"));
  CHECK(fs::exists(run_dir / "checkpoints" / "step-000003" / "manifest.json"));
  CHECK(!fs::exists(run_dir / "checkpoints" / "step-000004"));
  CHECK_THAT(read_text(run_dir / "debug" / "launch.json"),
             ContainsSubstring("CUDA_LAUNCH_BLOCKING"));

  const auto sick = program.launch(
      "2", {"--fresh", "--set", "health.max_grad_norm=1e-9", "--set", "health.max_skips_in_row=1"});
  CHECK(sick.exit_code == 77);
}
