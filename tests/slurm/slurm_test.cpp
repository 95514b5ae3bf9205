// Jobs on a real SLURM: `./run test --slurm` starts one on this machine (slurm/one_machine.sh, two
// nodes), runs these and takes it down. Whatever happens to a job - a time limit, a requeue, a
// preemption, a lost node - it must end with the bits of a run nothing happened to.
#include <fmt/core.h>

#include <catch2/catch_test_macros.hpp>
#include <catch2/matchers/catch_matchers_string.hpp>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <map>
#include <nlohmann/json.hpp>
#include <set>
#include <sstream>
#include <thread>

#include "base/files.h"
#include "base/process/atomic_file.h"
#include "base/text.h"
#include "support/test_paths.h"

using namespace muster;
using namespace std::chrono_literals;
using Catch::Matchers::ContainsSubstring;

namespace {

constexpr int kReferenceSteps = 800, kShortSteps = 300, kEvalEvery = 100;

struct Ran {
  int exit_code = -1;
  std::string output;  // stdout; stderr goes to the test's own
};

Ran run(const std::string& command) {
  Ran ran;
  FILE* pipe = ::popen(command.c_str(), "r");
  REQUIRE(pipe != nullptr);
  char buffer[4096];
  for (std::size_t n; (n = std::fread(buffer, 1, sizeof buffer, pipe)) > 0;)
    ran.output.append(buffer, n);
  const int status = ::pclose(pipe);
  ran.exit_code = WIFEXITED(status) ? WEXITSTATUS(status) : 128;
  return ran;
}

std::string muster_binary() { return (test::build_dir() / "muster").string(); }
std::string one_machine(const std::string& verb) {
  return "timeout 120 " + (test::source_dir() / "slurm" / "one_machine.sh").string() + " " + verb;
}

bool wait_until(const std::function<bool()>& done, std::chrono::seconds limit = 300s) {
  const auto until = std::chrono::steady_clock::now() + limit;
  while (std::chrono::steady_clock::now() < until) {
    if (done()) return true;
    std::this_thread::sleep_for(100ms);
  }
  return false;
}

// Only a SLURM of our own making is tested: these tests kill its daemons.
void need_slurm() {
  if (std::getenv("MUSTER_SLURM_DIR") == nullptr)
    SKIP("no SLURM for tests; ./run test --slurm starts one");
  if (run("timeout 20 sinfo -h -p test -o %D 2>/dev/null").output != "2\n")
    SKIP("SLURM does not answer with two nodes");
}

class Work {
 public:
  static Work& instance() {
    static Work work;
    return work;
  }
  // A config of its own run folder; everything else is the same for all.
  fs::path config(const std::string& name, int steps) const {
    const fs::path file = dir_.path() / (name + ".yaml");
    write_text(file, fmt::format(R"(extends: {0}/tests/support/plain_demo.yaml
run: {{dir: {1}/{2}}}
model: {{path: {0}/configs/models/demo}}
tokens: {{tokenizer: {1}/train}}
data: {{train: {1}/train.h5, val: {1}/val.h5}}
schedule: {{kind: constant, max_steps: {3}, warmup_steps: 2}}
batch: {{micro_batches_per_step: 4, max_samples: 2}}
checkpoint: {{every_steps: 100}}
eval: {{every_steps: {4}}}
logging: {{every_steps: 50}}
)",
                                 test::source_dir().string(), dir_.path().string(), name, steps,
                                 kEvalEvery));
    return file;
  }
  fs::path run_dir(const std::string& name) const { return dir_.path() / name; }

 private:
  Work() : dir_("muster-slurm") {
    for (const char* words : {"train --images 24 --seed 1", "val --images 4 --seed 2"}) {
      const std::string split(words, std::string(words).find(' ')), options(words + split.size());
      const std::string folder = (dir_.path() / split).string();
      REQUIRE(run(fmt::format("{0} synth {1} --size 84{2} 2>/dev/null && {0} pack "
                              "{1}/annotations.json -o {1}.h5 2>/dev/null",
                              muster_binary(), folder, options))
                  .exit_code == 0);
    }
  }
  TempDir dir_;
};

std::map<std::string, std::string> job_fields(const std::string& id) {
  std::map<std::string, std::string> fields;
  std::istringstream words(run("timeout 20 scontrol show job --oneliner " + id).output);
  for (std::string word; words >> word;)
    if (const auto equals = word.find('='); equals != std::string::npos)
      fields.emplace(word.substr(0, equals), word.substr(equals + 1));
  return fields;
}

// A submitted job; cancelled when the test leaves before its end.
class Job {
 public:
  Job(const std::string& name, int steps, const std::string& options)
      : run_dir_(Work::instance().run_dir(name)) {
    const Ran submitted =
        run(fmt::format("cd {} && {} submit {} {}", run_dir_.parent_path().string(),
                        muster_binary(), Work::instance().config(name, steps).string(), options));
    REQUIRE(submitted.exit_code == 0);
    id_ = submitted.output.substr(0, submitted.output.find('\n'));
    REQUIRE(id_.find_first_not_of("0123456789") == std::string::npos);
  }
  ~Job() { run("timeout 20 scancel --quiet " + id_); }
  Job(const Job&) = delete;

  const std::string& id() const { return id_; }
  const fs::path& run_dir() const { return run_dir_; }
  std::string state() const { return job_fields(id_)["JobState"]; }
  int restarts() const { return std::atoi(job_fields(id_)["Restarts"].c_str()); }
  std::string log() const {
    const fs::path file = run_dir_ / "logs" / ("slurm-" + id_ + ".out");
    return fs::exists(file) ? read_text(file) : "";
  }
  int steps() const {
    const fs::path file = run_dir_ / "metrics.jsonl";
    return fs::exists(file) ? static_cast<int>(split(read_text(file), '\n').size()) - 1 : 0;
  }
  void wait_for_steps(int count) const {
    INFO(state() << "\n" << log());
    REQUIRE(wait_until([&] { return steps() >= count; }));
  }
  // While a job is requeued scontrol may say nothing, or shortly that it was cancelled: an end is
  // one that stays.
  bool over() const {
    static const std::set<std::string> kEnds = {"COMPLETED", "FAILED",    "CANCELLED",
                                                "TIMEOUT",   "NODE_FAIL", "OUT_OF_MEMORY"};
    if (!kEnds.contains(state())) return false;
    std::this_thread::sleep_for(2s);
    return kEnds.contains(state());
  }
  void wait_for_end(const std::string& wanted) const {
    const bool ended = wait_until([&] { return over(); }, 480s);
    INFO(log());
    REQUIRE(ended);
    REQUIRE(state() == wanted);
  }

 private:
  fs::path run_dir_;
  std::string id_;
};

// What a run computed: of each step its loss terms and gradient norm, of each evaluation
// everything, as written.
std::map<std::string, std::string> results(const fs::path& run_dir) {
  std::map<std::string, std::string> found;
  for (const std::string& line : split(read_text(run_dir / "metrics.jsonl"), '\n')) {
    if (line.empty()) continue;
    const auto record = nlohmann::json::parse(line);
    const bool evaluation = line.find("\"eval.") != std::string::npos;
    const std::string key =
        fmt::format("{} {}", evaluation ? "eval" : "step", record["step"].get<int>());
    INFO(key << " appears twice in " << run_dir.string());
    REQUIRE_FALSE(found.contains(key));
    for (const auto& [name, value] : record.items())
      if (evaluation || name.starts_with("loss") || name == "grad_norm")
        found[key] += name + "=" + value.dump() + " ";
  }
  return found;
}

// Made by the first test that needs it: one job, one node, two ranks, nothing happens to it.
const std::map<std::string, std::string>& reference() {
  static const std::map<std::string, std::string> made = [] {
    const Job job("reference", kReferenceSteps,
                  "--nodes 1 --gpus-per-node 0 --ranks-per-node 2 --time 30:00");
    job.wait_for_end("COMPLETED");
    CHECK(job.restarts() == 0);
    CHECK_THAT(job.log(), ContainsSubstring("attempt 0 done"));
    return results(job.run_dir());
  }();
  return made;
}

// Every step and evaluation up to `steps` is there once and says what the reference says.
void check_same_bits(const Job& job, int steps) {
  const auto found = results(job.run_dir());
  for (int step = 1; step <= std::min(steps, kReferenceSteps); ++step) {
    const std::string key = fmt::format("step {}", step);
    INFO(key);
    REQUIRE(found.contains(key));
    REQUIRE(found.at(key) == reference().at(key));
  }
  for (int step = kEvalEvery; step <= std::min(steps, kReferenceSteps); step += kEvalEvery)
    CHECK(found.at(fmt::format("eval {}", step)) == reference().at(fmt::format("eval {}", step)));
}

}  // namespace

TEST_CASE("slurm: a submitted job completes, with GPUs asked for or not", "[slurm]") {
  need_slurm();
  CHECK(reference().size() == kReferenceSteps + kReferenceSteps / kEvalEvery);
  const Job job(
      "gpus", 20,
      "--nodes 2 --gpus-per-node 2 --time 30:00 --job-name shapes --set eval.every_steps=0");
  CHECK(job_fields(job.id())["JobName"] == "shapes");
  job.wait_for_end("COMPLETED");
  CHECK_THAT(job_fields(job.id())["TRES"] + job_fields(job.id())["TresPerNode"],
             ContainsSubstring("gpu"));
  CHECK_THAT(job.log(), ContainsSubstring("4 ranks"));
  CHECK(fs::exists(job.run_dir() / "checkpoints" / "step-000020" / "manifest.json"));
}

TEST_CASE("slurm: scontrol requeue", "[slurm]") {
  need_slurm();
  const Job job("requeue", kShortSteps, "--nodes 1 --gpus-per-node 0 --ranks-per-node 2");
  job.wait_for_steps(40);
  REQUIRE(run("scontrol requeue " + job.id()).exit_code == 0);
  job.wait_for_end("COMPLETED");
  CHECK(job.restarts() == 1);
  check_same_bits(job, kShortSteps);
}

TEST_CASE("slurm: the signal before the time limit, then 75, the queue again, and on", "[slurm]") {
  need_slurm();
  const Job job("signal", kShortSteps, "--nodes 1 --gpus-per-node 0 --ranks-per-node 2");
  job.wait_for_steps(40);
  REQUIRE(run("scancel --batch --signal=USR2 " + job.id()).exit_code == 0);
  job.wait_for_end("COMPLETED");
  CHECK(job.restarts() == 1);
  CHECK_THAT(job.log(), ContainsSubstring("goes back to the queue"));
  check_same_bits(job, kShortSteps);
}

TEST_CASE("slurm: a time limit shorter than the run", "[slurm][.slow]") {
  need_slurm();
  // SLURM signals 20 to 50 s before the end of the minute: the run must be longer than that on any
  // machine.
  const int steps = 1600;
  const Job job("limit", steps,
                "--nodes 1 --gpus-per-node 0 --ranks-per-node 2 --time 01:00 --grace 20");
  job.wait_for_end("COMPLETED");
  CHECK(job.restarts() >= 1);
  check_same_bits(job, steps);
}

TEST_CASE("slurm: a chain of jobs, where requeueing is forbidden", "[slurm]") {
  need_slurm();
  const Job job("chain", kShortSteps, "--nodes 1 --gpus-per-node 0 --ranks-per-node 2 --chain 3");
  job.wait_for_steps(40);
  run("scancel --batch --signal=USR2 " + job.id() +
      "_1");  // delivers it, and still answers 229 for an array's element
  INFO(run("scontrol show job --oneliner " + job.id()).output);
  REQUIRE(wait_until(
      [&] { return run("squeue --noheader --jobs=" + job.id() + " 2>/dev/null").output.empty(); }));
  CHECK(job_fields(job.id() + "_1")["ExitCode"] == "75:0");
  CHECK(job_fields(job.id() + "_2")["JobState"] == "COMPLETED");
  CHECK(job_fields(job.id() + "_3")["JobState"] == "CANCELLED");
  check_same_bits(job, kShortSteps);
}

TEST_CASE("slurm: preemption by an urgent job", "[slurm]") {
  need_slurm();
  const Job job("preempted", kShortSteps,
                "--nodes 1 --gpus-per-node 0 --ranks-per-node 2 --partition test");
  job.wait_for_steps(40);
  const std::string urgent = run("sbatch --parsable --partition=urgent --nodes=2 --exclusive "
                                 "--output=/dev/null --wrap 'sleep 2'")
                                 .output;
  REQUIRE_FALSE(urgent.empty());
  job.wait_for_end("COMPLETED");
  CHECK(job.restarts() >= 1);
  CHECK(job_fields(split(urgent, '\n')[0])["JobState"] == "COMPLETED");
  check_same_bits(job, kShortSteps);
}

TEST_CASE("slurm: scancel is the last word", "[slurm]") {
  need_slurm();
  const Job job("cancelled", kReferenceSteps, "--nodes 1 --gpus-per-node 0 --ranks-per-node 2");
  job.wait_for_steps(20);
  REQUIRE(run("scancel " + job.id()).exit_code == 0);
  job.wait_for_end("CANCELLED");
  CHECK(job.restarts() == 0);
}

TEST_CASE("slurm: a node is lost, the job goes on without it", "[slurm]") {
  need_slurm();
  const Job job("node_loss", kShortSteps,
                "--nodes 2 --min-nodes 1 --gpus-per-node 0 --ranks-per-node 1");
  job.wait_for_steps(120);  // one checkpoint is there
  REQUIRE(job_fields(job.id())["NumNodes"] == "2");
  REQUIRE(run(one_machine("kill-node n2")).exit_code == 0);
  const bool again = wait_until([&] { return job.restarts() >= 1 && job.state() == "RUNNING"; });
  const std::string nodes = job_fields(job.id())["NumNodes"];
  if (!again) UNSCOPED_INFO(job.log());
  CHECK(again);
  CHECK(nodes == "1");
  if (again) job.wait_for_end("COMPLETED");
  REQUIRE(run(one_machine("start-node n2")).exit_code == 0);
  check_same_bits(job, kShortSteps);
}
