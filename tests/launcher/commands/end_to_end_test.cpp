// The real program: exit codes that need it, and what it leaves for `status`.
#include <fmt/core.h>

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
  CHECK_THAT(run.output, ContainsSubstring("out of memory in phase start (R-001): ") &&
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

TEST_CASE("program: eval and predict leave the same bytes for every number of ranks and threads",
          "[ranks]") {
  const Program program({"schedule.max_steps=3", "checkpoint.every_steps=3"});
  const auto run = program.launch("1", {"--color", "never"});
  INFO(run.output);
  REQUIRE(run.exit_code == 0);
  CHECK_THAT(run.output, ContainsSubstring("\nbest   AP ") && ContainsSubstring("\nwhere  ") &&
                             ContainsSubstring("\nnext   muster report "));
  const fs::path val = test::TinyData::instance().folder() / "val.h5";
  const std::string run_dir = (program.dir.path() / "run").string();
  const std::string muster = (test::build_dir() / "muster").string();
  const auto on_ranks = [&](const char* ranks, std::vector<std::string> arguments) {
    std::vector<std::string> words{"mpirun", "-n", ranks, "--oversubscribe", muster};
    words.insert(words.end(), arguments.begin(), arguments.end());
    return run_captured(words, 120s);
  };
  const auto measure = [&](const char* ranks, const char* threads) {
    const fs::path out = program.dir.path() / fmt::format("{}x{}", ranks, threads);
    const auto eval = on_ranks(
        ranks, {"eval", run_dir, "--data", val.string(), "--record", out.string() + ".json", "-o",
                out.string() + ".coco", "--loss", "--threads", threads});
    INFO(eval.output);
    REQUIRE(eval.exit_code == 0);
    const auto predict =
        on_ranks(ranks, {"predict", run_dir, val.string(), "-o", out.string(), "--threshold",
                         "0.01", "--batch", "1", "--format", "jsonl", "--threads", threads});
    INFO(predict.output);
    REQUIRE(predict.exit_code == 0);
    return out;
  };
  const fs::path one = measure("1", "1");
  for (const auto& [ranks, threads] :
       {std::pair("2", "1"), std::pair("1", "3"), std::pair("2", "0")}) {
    INFO(ranks << " ranks, --threads " << threads);
    const fs::path other = measure(ranks, threads);
    CHECK((read_text(one.string() + ".json") == read_text(other.string() + ".json")));
    CHECK((read_text(one.string() + ".coco") == read_text(other.string() + ".coco")));
    std::size_t files = 0;
    for (const auto& entry : fs::recursive_directory_iterator(one)) {
      if (!entry.is_regular_file()) continue;
      ++files;
      CHECK((read_text(entry.path()) == read_text(other / fs::relative(entry.path(), one))));
    }
    CHECK(files == 4 + 2);  // four pictures, detections.json, detections.jsonl
  }
  // One rank's fault ends both, with its code.
  const auto missing = on_ranks("2", {"eval", run_dir, "--data", "/no/such/pack.h5"});
  INFO(missing.output);
  CHECK(missing.exit_code == 65);
}

TEST_CASE("program: predict takes the thresholds that an evaluation found", "[fault]") {
  const Program program({"schedule.max_steps=3", "checkpoint.every_steps=3", "eval.every_steps=3"});
  REQUIRE(program.launch("1").exit_code == 0);
  const fs::path run_dir = program.dir.path() / "run";
  const fs::path checkpoint = run_dir / "checkpoints" / "step-000003";
  CHECK(fs::exists(checkpoint / "evaluation.json"));
  const fs::path val = test::TinyData::instance().folder() / "val.h5";
  const auto predict = [&](const std::string& threshold) {
    return program.run({"predict", run_dir.string(), val.string(), "-o",
                        (program.dir.path() / "out").string(), "--threshold", threshold});
  };
  const auto word = predict("high");
  CHECK(word.exit_code == 64);
  CHECK_THAT(word.output, ContainsSubstring("expected a number, best or best-per-class"));
  // After three steps nothing is found, and so no threshold is the best.
  const auto none = predict("best");
  INFO(none.output);
  if (none.exit_code != 0) CHECK_THAT(none.output, ContainsSubstring("--record"));
}

TEST_CASE("program: status --follow ends with the run, a line per change or JSON", "[unit]") {
  const Program program({"schedule.max_steps=2", "checkpoint.every_steps=2"});
  REQUIRE(program.launch("1").exit_code == 0);
  const std::string run_dir = (program.dir.path() / "run").string();
  const auto lines = program.run({"status", run_dir, "--follow", "--every", "0.1"});
  CHECK(lines.exit_code == 0);
  CHECK_THAT(lines.output, ContainsSubstring("done (code 0), step 2 of 2, loss "));
  CHECK(lines.output.find('\x1b') == std::string::npos);
  const auto json = program.run({"status", run_dir, "--follow", "--json"});
  CHECK(nlohmann::json::parse(json.output)["state"] == "done");
}
