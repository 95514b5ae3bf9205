#include "launcher/supervise/submit.h"

#include <catch2/catch_test_macros.hpp>
#include <catch2/matchers/catch_matchers_string.hpp>
#include <cstdlib>

#include "base/error.h"
#include "base/files.h"
#include "base/pattern.h"
#include "base/process/atomic_file.h"
#include "support/test_paths.h"

using namespace muster;
using namespace muster::launcher;
using Catch::Matchers::ContainsSubstring;

namespace {

std::string sbatch_template() { return read_text(test::source_dir() / "slurm" / "train.sbatch"); }

SubmitSpec example() {
  SubmitSpec spec;
  spec.config = "/home/ada/my runs/shapes.yaml";
  spec.run_dir = "/scratch/runs/shapes";
  spec.work_dir = "/home/ada/muster";
  spec.muster = "/home/ada/muster/build/muster";
  spec.nodes = 4;
  spec.min_nodes = 2;
  spec.gpus_per_node = 8;
  spec.grace_s = 120;
  spec.time = "12:00:00";
  spec.partition = "gpu";
  spec.account = "vision";
  spec.job_name = "shapes";
  spec.modules = {"openmpi/4.1"};
  spec.overrides = {"schedule.max_steps=600", "data.prompt=what's here?"};
  spec.container = "/images/muster.sif";
  return spec;
}

}  // namespace

TEST_CASE("the rendered script is the golden one, byte for byte", "[unit]") {
  CHECK(render_sbatch(sbatch_template(), example()) == R"(#!/bin/bash
# One training run. Rendered by `muster submit`; words between at-signs are filled in, nothing else changes.
#SBATCH --job-name=shapes
#SBATCH --nodes=2-4
#SBATCH --chdir=/home/ada/muster
#SBATCH --time=12:00:00
#SBATCH --partition=gpu
#SBATCH --account=vision
#SBATCH --gpus-per-node=8
#SBATCH --exclusive
#SBATCH --mem=0
#
# The run is continued after a time limit, preemption or the loss of a node; logs are continued, not overwritten.
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --output=/scratch/runs/shapes/logs/slurm-%j.out
#
# 120 s before the time limit the batch process is told to checkpoint: the launcher passes USR2 on to all ranks, leaves
# with 75 and puts the job back into the queue, where it continues.
#SBATCH --signal=B:USR2@120
#
# No task counts above: SLURM would freeze them, and a requeued job could not start on the nodes that are left.

trap '' USR2 # until the launcher listens, the signal must not end the job
set -e
module load openmpi/4.1
set -u # not before: sites' own scripts read variables that are not set

# exec: the launcher becomes the batch process, so SLURM's signals and the exit code are its own.
exec /home/ada/muster/build/muster launch '/home/ada/my runs/shapes.yaml' --starter srun -n $((SLURM_JOB_NUM_NODES * 8)) --container /images/muster.sif --set schedule.max_steps=600 --set 'data.prompt=what'\''s here?'
)");
}

TEST_CASE("what is not asked for leaves no line", "[unit]") {
  SubmitSpec spec = example();
  spec.time = spec.partition = spec.account = spec.container = "";
  spec.modules.clear();
  spec.min_nodes = 0;
  spec.gpus_per_node = 0;
  spec.ranks_per_node = 3;
  const std::string script = render_sbatch(sbatch_template(), spec);
  for (const char* absent :
       {"--time", "--partition", "--account", "gpus-per-node", "module load", "--container"})
    CHECK(script.find(absent) == std::string::npos);
  CHECK_THAT(script,
             ContainsSubstring("--nodes=4\n") && ContainsSubstring("SLURM_JOB_NUM_NODES * 3"));
  spec.gpus_per_node = 3;
  spec.cpus_per_gpu = 12;
  CHECK(render_sbatch(sbatch_template(), spec).find("--exclusive") == std::string::npos);
}

TEST_CASE("options of sbatch are passed on, and what muster sets itself is refused", "[unit]") {
  SubmitSpec spec = example();
  spec.sbatch = {"--qos=high",          "--constraint h100&ib", "-x node[3,7]", "mail-type=END",
                 "--comment=two words", "--exclude=a,b",        "--hold"};
  CHECK_THAT(render_sbatch(sbatch_template(), spec),
             ContainsSubstring("#SBATCH --qos=high\n#SBATCH --constraint=h100&ib\n"
                               "#SBATCH -x node[3,7]\n#SBATCH --mail-type=END\n"
                               "#SBATCH --comment=\"two words\"\n#SBATCH --exclude=a,b\n"
                               "#SBATCH --hold\n"));
  for (const char* own : {"--ntasks=4", "-n 4", "--nodes=2", "--output=x", "--signal=TERM@9",
                          "time=1:00", "--array=1-3", "", "--", "=x", "--comment=say \"x\""}) {
    INFO(own);
    spec.sbatch = {own};
    CHECK_THROWS_AS(render_sbatch(sbatch_template(), spec), UsageError);
  }
}

TEST_CASE("every #SBATCH value is quoted or refused", "[unit]") {
  SubmitSpec spec = example();
  spec.run_dir = "/scratch/my runs/100%/shapes";
  spec.work_dir = "/home/ada/my muster";
  spec.job_name = "two words";
  CHECK_THAT(
      render_sbatch(sbatch_template(), spec),
      ContainsSubstring("#SBATCH --output=\"/scratch/my runs/100%%/shapes/logs/slurm-%j.out\"\n") &&
          ContainsSubstring("#SBATCH --chdir=\"/home/ada/my muster\"\n") &&
          ContainsSubstring("#SBATCH --job-name=\"two words\"\n"));
  for (const char* bad : {"/scratch/\"x\"", "/scratch/it's", "/scratch/a\\b", "/a\nb"}) {
    SubmitSpec refused = example();
    refused.run_dir = bad;
    CHECK_THROWS_AS(render_sbatch(sbatch_template(), refused), UsageError);
  }
}

TEST_CASE("a site says once what every job needs", "[unit]") {
  const TempDir dir;
  const fs::path file = dir.path() / "site.yaml";
  write_text(file,
             "partition: site-gpu\nmodules: [site/1]\nsbatch: ['--qos=normal']\n"
             "setup: ['source /opt/profile.sh']\nenvironment: {NCCL_SOCKET_IFNAME: ib0}\n");
  SubmitSpec spec = example();
  spec.partition = "";
  add_site(spec, read_site(file));
  CHECK(spec.account == "vision");
  CHECK_THAT(render_sbatch(sbatch_template(), spec),
             ContainsSubstring("--partition=site-gpu\n") && ContainsSubstring("--qos=normal\n") &&
                 ContainsSubstring("export NCCL_SOCKET_IFNAME=ib0\nsource /opt/profile.sh\n"
                                   "module load site/1\nmodule load openmpi/4.1\nset -u"));
  write_text(file, "partition: [a]\nmodule: x\nenvironment:\n  A-B: 1\nsbatch: x\n");
  CHECK_THROWS_WITH(
      read_site(file),
      ContainsSubstring("site.yaml:1: partition") &&
          ContainsSubstring("site.yaml:2: unknown key module; did you mean modules?") &&
          ContainsSubstring("site.yaml:4:") &&
          ContainsSubstring("site.yaml:5: sbatch: wanted a list"));
}

TEST_CASE("a module's script may read variables that are not set", "[unit]") {
  const TempDir dir;
  SubmitSpec spec = example();
  spec.container = "";
  spec.muster = "/bin/true";
  spec.setup = {"module() { echo \"$UNSET_BY_THE_SITE\" >/dev/null; }"};
  write_text(dir.path() / "job", render_sbatch(sbatch_template(), spec));
  const std::string command = "SLURM_JOB_NUM_NODES=3 bash " + (dir.path() / "job").string();
  CHECK(std::system(command.c_str()) == 0);
}

TEST_CASE("a chain of jobs instead of one that is requeued", "[unit]") {
  SubmitSpec spec = example();
  spec.chain = 5;
  CHECK_THAT(render_sbatch(sbatch_template(), spec),
             ContainsSubstring("#SBATCH --no-requeue\n#SBATCH --array=1-5%1\n") &&
                 ContainsSubstring("slurm-%A_%a.out") &&
                 ContainsSubstring("export MUSTER_CHAIN=$SLURM_ARRAY_JOB_ID\n") &&
                 !ContainsSubstring("--requeue\n"));
}

TEST_CASE("no task count stands in the header and the launcher is the last word", "[unit]") {
  const std::string script = render_sbatch(sbatch_template(), example());
  CHECK_FALSE(
      Pattern(R"(#SBATCH +(-n|--ntasks|--ntasks-per-node|--ntasks-per-gpu))").found_in(script));
  const std::string last = script.substr(script.rfind('\n', script.size() - 2) + 1);
  CHECK_THAT(last, Catch::Matchers::StartsWith("exec "));
}

TEST_CASE("the script is one bash can read, and starts the launcher with the words meant",
          "[unit]") {
  const TempDir dir;
  SubmitSpec spec = example();
  spec.modules.clear(), spec.container = "";
  write_text(dir.path() / "muster", "#!/bin/sh\nprintf '%s\\n' \"$@\" > \"$MUSTER_SEEN\"\n");
  fs::permissions(dir.path() / "muster", fs::perms::owner_all);
  spec.muster = dir.path() / "muster";
  write_text(dir.path() / "job", render_sbatch(sbatch_template(), spec));
  const std::string seen = (dir.path() / "seen").string();
  const std::string command =
      "SLURM_JOB_NUM_NODES=3 MUSTER_SEEN=" + seen + " bash " + (dir.path() / "job").string();
  REQUIRE(std::system(command.c_str()) == 0);
  CHECK(read_text(seen) ==
        "launch\n/home/ada/my "
        "runs/"
        "shapes.yaml\n--starter\nsrun\n-n\n24\n--set\nschedule.max_steps=600\n--set\ndata.prompt="
        "what's "
        "here?\n");
}

TEST_CASE("a template and its values must fit each other", "[fault]") {
  CHECK(fill_template("a@B@c d@e.f", {{"B", "1"}}) == "a1c d@e.f");
  CHECK_THROWS_WITH(fill_template("x @NEW_THING@", {}), ContainsSubstring("@NEW_THING@"));
  CHECK_THROWS_WITH(fill_template("x", {{"NODES", "1"}}), ContainsSubstring("@NODES@"));
}

TEST_CASE("what SLURM would refuse is refused before", "[fault]") {
  SubmitSpec spec = example();
  const auto refused = [&] {
    CHECK_THROWS_AS(check_submit(spec), UsageError);
    spec = example();
  };
  CHECK_NOTHROW(check_submit(spec));
  spec.nodes = 0;
  refused();
  spec.gpus_per_node = -1;
  refused();
  spec.gpus_per_node = 0;  // and no ranks either
  refused();
  spec.gpus_per_node = 0;
  spec.ranks_per_node = 2;
  spec.cpus_per_gpu = 4;
  refused();
  spec.time = "2";  // minutes: over before 120 s before its end
  refused();
  spec.min_nodes = 5;
  refused();
  spec.time = "tomorrow";
  refused();
  spec.time = "12:61:00";
  refused();
  spec.chain = -1;
  refused();
  spec.job_name = "a\n#SBATCH --uid=0";
  refused();
  spec.time = "2-00:00:00";
  CHECK_NOTHROW(check_submit(spec));
}

TEST_CASE("--time is read as sbatch reads it", "[unit]") {
  const std::vector<std::pair<std::string, std::optional<long>>> cases = {
      {"90", 5400},     {"10:30", 630},      {"01:00:05", 3605}, {"2-00:00:00", 172800},
      {"1-12", 129600}, {"1-12:30", 131400}, {"12:61", {}},      {"1:75:00", {}},
      {"", {}},         {"12:00:00:00", {}}, {"1h", {}}};
  for (const auto& [time, seconds] : cases) {
    INFO(time);
    CHECK(seconds_of_time(time) == seconds);
  }
}
