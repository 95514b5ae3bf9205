// What the launcher does as the batch process of a job, without a SLURM: pure decisions, and a
// scontrol of our own on the PATH.
#include "launcher/supervise/slurm_job.h"

#include <algorithm>
#include <catch2/catch_test_macros.hpp>
#include <catch2/matchers/catch_matchers_string.hpp>
#include <cstdlib>
#include <optional>

#include "base/error.h"
#include "base/files.h"
#include "base/process/atomic_file.h"
#include "launcher/supervise/command_builder.h"
#include "launcher/supervise/container.h"
#include "support/test_paths.h"

using namespace muster;
using namespace muster::launcher;
using Catch::Matchers::ContainsSubstring;

namespace {

constexpr const char* kJobLine =
    "JobId=17 JobName=tiny UserId=ada(1000) Priority=1 JobState=RUNNING Reason=None Requeue=1 "
    "Restarts=2 BatchFlag=1 "
    "Reboot=0 NodeList=n[1-2] BatchHost=n1 NumNodes=2\n";

class SetEnv {
 public:
  SetEnv(const char* name, const std::string& value) : name_(name) {
    if (const char* old = std::getenv(name)) old_ = old;
    ::setenv(name, value.c_str(), 1);
  }
  ~SetEnv() { old_ ? ::setenv(name_, old_->c_str(), 1) : ::unsetenv(name_); }

 private:
  const char* name_;
  std::optional<std::string> old_;
};

// A folder with a `scontrol` and an `srun` that write down how they were called.
struct FakeSlurm {
  TempDir dir{"muster-fake-slurm"};
  std::string job_line, calls = (dir.path() / "calls").string();

  explicit FakeSlurm(std::string line, const std::string& dead_node = "-")
      : job_line(std::move(line)) {
    program("scontrol",
            "case $2 in job) echo '" + job_line + "';; hostnames) printf 'n1\\nn2\\n';; esac");
    program("srun", "case \"$*\" in *--nodelist=" + dead_node + "*) exit 1;; esac");
    write_text(calls, "");
  }
  void program(const std::string& name, const std::string& body) {
    write_text(dir.path() / name,
               "#!/bin/sh\necho \"" + name + " $*\" >> " + calls + "\n" + body + "\n");
    fs::permissions(dir.path() / name, fs::perms::owner_all);
  }
  std::string calls_after(int exit_code) {
    const SetEnv path("PATH", dir.path().string() + ":" + std::getenv("PATH")),
        job("SLURM_JOB_ID", "17");
    ::unsetenv("SLURM_STEP_ID");
    requeue_if_wanted(exit_code);
    return read_text(calls);
  }
};

}  // namespace

TEST_CASE("which ends send a job back to the queue", "[unit]") {
  const SlurmJob job{
      .id = "17", .state = "RUNNING", .nodes = "n[1-2]", .batch = true, .may_requeue = true};
  CHECK(decide_requeue(job, 75, {}).wanted);
  CHECK(decide_requeue(job, 70, {"n2"}).wanted);
  CHECK_THAT(decide_requeue(job, 93, {"n2"}).why,
             ContainsSubstring("n2") && ContainsSubstring("R-007"));
  for (const int code : {0, 64, 65, 70, 71, 74, 77, 78, 93})
    CHECK_FALSE(decide_requeue(job, code, {}).wanted);
  for (const int code : {0, 64, 65, 77}) CHECK_FALSE(decide_requeue(job, code, {"n2"}).wanted);
  SlurmJob other = job;
  other.state = "CANCELLED";  // scancel must stay the last word
  CHECK_FALSE(decide_requeue(other, 75, {}).wanted);
  other = job;
  other.may_requeue = false;
  CHECK_FALSE(decide_requeue(other, 75, {}).wanted);
  other = job;
  other.batch = false;
  CHECK_FALSE(decide_requeue(other, 75, {}).wanted);
}

TEST_CASE("a stopped job asks scontrol to requeue it, last", "[unit]") {
  FakeSlurm slurm(kJobLine);
  const std::string calls = slurm.calls_after(75);
  CHECK(calls == "scontrol show job --oneliner 17\nscontrol requeue 17\n");
}

TEST_CASE("a failure is requeued only when a node of the job is gone", "[fault]") {
  FakeSlurm healthy(kJobLine);
  CHECK_THAT(healthy.calls_after(70),
             ContainsSubstring("--nodelist=n2") && !ContainsSubstring("requeue"));
  FakeSlurm lost(kJobLine, "n2");
  CHECK_THAT(lost.calls_after(70), ContainsSubstring("scontrol requeue 17"));
  FakeSlurm done(kJobLine, "n2");
  CHECK(done.calls_after(0).empty());
}

TEST_CASE("a chain ends with its run, and goes on after a stop", "[unit]") {
  FakeSlurm slurm(kJobLine);
  slurm.program("scancel", "");
  const SetEnv path("PATH", slurm.dir.path().string() + ":" + std::getenv("PATH")),
      chain("MUSTER_CHAIN", "40");
  end_chain_if_over(75);
  CHECK(read_text(slurm.calls).empty());
  end_chain_if_over(0);
  CHECK(read_text(slurm.calls) == "scancel --state=PENDING 40\n");
}

TEST_CASE("srun puts the same number of ranks on each node of the job", "[unit]") {
  LaunchSpec spec;
  spec.starter.kind = StarterKind::kSrun;
  spec.ranks = 6;
  const SetEnv nodes("SLURM_JOB_NUM_NODES", "2");
  spread_over_nodes(spec);
  CHECK(spec.placement.ranks_per_node == 3);
  spec.ranks = 5;
  spec.placement.ranks_per_node = 0;
  spread_over_nodes(spec);
  CHECK(spec.placement.ranks_per_node == 0);
}

TEST_CASE("ranks in a container: Apptainer is run by each rank, pyxis by srun", "[unit]") {
  LaunchSpec spec;
  spec.run_dir = "/scratch/run";
  spec.starter.kind = StarterKind::kSrun;
  spec.starter.program = "srun";
  spec.wrapper = {"/home/ada/build/muster-rank-wrap"};
  spec.rank_program = {"/home/ada/build/muster", "train", "c.yaml"};
  const std::string here = fs::current_path().string();
  LaunchSpec apptainer = spec;
  enter_container(apptainer, "/images/muster.sif", true);
  CHECK(apptainer.wrapper == std::vector<std::string>{"apptainer", "exec", "--bind",
                                                      here + ",/scratch/run", "--pwd", here, "--nv",
                                                      "/images/muster.sif", "muster-rank-wrap"});
  CHECK(apptainer.rank_program[0] == "muster");
  LaunchSpec pyxis = spec;
  enter_container(pyxis, "registry#muster:1", false);
  const auto argv = build_command(pyxis, 0).argv;
  CHECK(std::find(argv.begin(), argv.end(), "--container-image=registry#muster:1") != argv.end());
  CHECK(std::find(argv.begin(), argv.end(), "muster") != argv.end());
  spec.starter.kind = StarterKind::kMpirun4;
  CHECK_THROWS_AS(enter_container(spec, "registry#muster:1", false), UsageError);
}
