// Real processes: mpirun starts wrappers and fake ranks, one of which fails in a known way. The supervisor must name
// it, answer with the documented code, and leave nobody behind.
#include "launcher/supervisor.h"

#include <fmt/core.h>
#include <sys/wait.h>
#include <unistd.h>

#include <catch2/catch_test_macros.hpp>
#include <catch2/matchers/catch_matchers_string.hpp>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <fstream>
#include <functional>
#include <nlohmann/json.hpp>
#include <thread>

#include "base/files.h"
#include "launcher/run_folder.h"
#include "support/test_paths.h"

using namespace muster;
using namespace muster::launcher;
using namespace std::chrono_literals;
using Catch::Matchers::ContainsSubstring;

namespace {

// Processes that name `dir` on their command line.
int processes_of(const fs::path& dir) {
  int found = 0;
  for (const auto& entry : fs::directory_iterator("/proc")) {
    std::ifstream in(entry.path() / "cmdline");
    const std::string line((std::istreambuf_iterator<char>(in)), {});
    found += line.find(dir.string()) != std::string::npos;
  }
  return found;
}

struct World {
  TempDir dir{"muster-launch"};
  LaunchSpec spec;

  World(int ranks, std::vector<std::string> arguments) {
    const std::string program = (test::build_dir() / "fake_rank").string();
    make_run_folder(dir.path());
    spec.run_dir = dir.path();
    spec.ranks = ranks;
    spec.as_root = ::geteuid() == 0;
    spec.wrapper = {program, "rank-wrap"};
    spec.rank_program = {program, "rank", "--run-dir", dir.path().string()};
    spec.rank_program.insert(spec.rank_program.end(), arguments.begin(), arguments.end());
    spec.limits = {5, 1, 2};
    spec.backoff_s = 0;
  }

  LaunchResult run(const char* what) {
    const LaunchResult result = supervise(spec);
    const AttemptResult& last = result.attempts.back();
    if (last.failure) {
      std::printf("%-12s noticed %.2f s after it happened, attempt took %.2f s, mpirun %d\n", what,
                  last.noticed_unix - last.failure->time_unix, last.seconds, last.starter_code);
    }
    CHECK(processes_of(dir.path()) == 0);
    return result;
  }
};

int culprit(const LaunchResult& result) {
  REQUIRE(result.attempts.back().failure);
  return result.attempts.back().failure->rank.status.rank;
}

bool all_ranks_ready(const fs::path& run_dir, int ranks) {
  for (int rank = 0; rank < ranks; ++rank) {
    if (!read_flight_log(flight_file(run_dir, rank))) return false;
  }
  return true;
}

// Runs `action` in another process once every rank is stepping. (A thread here would take the signals it sends.)
pid_t when_ready(const World& world, const std::function<void(pid_t)>& action) {
  const pid_t target = ::getpid();
  const pid_t child = ::fork();
  if (child != 0) return child;
  while (!all_ranks_ready(world.spec.run_dir, world.spec.ranks)) std::this_thread::sleep_for(20ms);
  action(target);
  ::_exit(0);
}

}  // namespace

TEST_CASE("launch: a world that finishes", "[fault]") {
  World world(2, {"--steps", "4"});
  const LaunchResult result = world.run("done");
  CHECK(result.exit_code == 0);
  CHECK(result.attempts.size() == 1);
  CHECK(result.attempts[0].ending == Ending::kDone);
  for (int rank = 0; rank < 2; ++rank) {
    const auto status = read_rank_status(world.spec.run_dir, rank);
    REQUIRE(status);
    CHECK(status->exit_code == 0);
    CHECK(status->last_step == 3);
    CHECK_THAT(read_text(world.spec.run_dir / "logs" / fmt::format("rank-{}.out", rank)),
               ContainsSubstring("finished"));
  }
  CHECK_THAT(read_text(world.spec.run_dir / "logs" / "mpirun.out"),
             ContainsSubstring("rank 0 finished") && !ContainsSubstring("rank 1 finished"));
  const auto record = nlohmann::json::parse(read_text(world.spec.run_dir / "launch.json"));
  CHECK(record["attempts"][0]["ending"] == "done");
  CHECK(record["environment"]["OMP_NUM_THREADS"] == "1");
}

TEST_CASE("launch: a rank that exits with 3", "[fault]") {
  World world(3, {"--fault", "exit3", "--fault-rank", "2"});
  const LaunchResult result = world.run("exit3");
  CHECK(result.exit_code == 70);
  CHECK(culprit(result) == 2);
  CHECK(result.attempts[0].failure->rank.status.exit_code == 3);
  CHECK(result.attempts[0].failure->rank.last->step == 3);
}

TEST_CASE("launch: a rank killed by SIGKILL, while its peers complain about the lost connection", "[fault]") {
  World world(2, {"--fault", "kill", "--peers-complain"});
  const LaunchResult result = world.run("kill");
  CHECK(result.exit_code == 70);
  CHECK(culprit(result) == 1);
  CHECK(result.attempts[0].failure->rank.status.signal == SIGKILL);
}

TEST_CASE("launch: a rank that crashes", "[fault]") {
  World world(2, {"--fault", "segv", "--fault-rank", "0"});
  const LaunchResult result = world.run("segv");
  CHECK(result.exit_code == 70);
  CHECK(culprit(result) == 0);
  CHECK(result.attempts[0].failure->rank.status.signal == SIGSEGV);
}

TEST_CASE("launch: a rank that leaves with 0 too early", "[fault]") {
  World world(2, {"--fault", "exit0"});
  const LaunchResult result = world.run("exit0");
  CHECK(result.exit_code == 70);
  CHECK(culprit(result) == 1);
  CHECK(result.attempts[0].failure->rank.status.exit_code == 0);
}

TEST_CASE("launch: a numeric abort is passed on and never restarted", "[fault]") {
  World world(2, {"--fault", "nan"});
  world.spec.max_restarts = 3;
  const LaunchResult result = world.run("nan");
  CHECK(result.exit_code == 77);
  CHECK(result.attempts.size() == 1);
  CHECK(culprit(result) == 1);
  CHECK_THAT(result.attempts[0].failure->what, ContainsSubstring("loss is NaN in loss.caption"));
}

TEST_CASE("launch: a stopped rank is a hang, and the stopped one is named", "[fault]") {
  World world(3, {"--fault", "stop", "--steps", "50"});
  const LaunchResult result = world.run("stop");
  CHECK(result.exit_code == 71);
  CHECK(culprit(result) == 1);
  CHECK(result.attempts[0].ending == Ending::kHang);
  CHECK(result.attempts[0].seconds < 6);
}

TEST_CASE("launch: a rank that never arrives is a hang by the start limit", "[fault]") {
  World world(2, {"--fault", "never-starts"});
  world.spec.limits.start_s = 1.5;
  const LaunchResult result = world.run("never-starts");
  CHECK(result.exit_code == 71);
  CHECK(culprit(result) == 1);
}

TEST_CASE("launch: USR2 checkpoints at a step boundary and leaves with 75", "[fault]") {
  World world(2, {"--steps", "1000"});
  world.spec.max_restarts = 3;
  const pid_t helper = when_ready(world, [](pid_t launcher) { ::kill(launcher, SIGUSR2); });
  const LaunchResult result = world.run("usr2");
  ::waitpid(helper, nullptr, 0);
  CHECK(result.exit_code == 75);
  CHECK(result.attempts.size() == 1);
  CHECK(result.attempts[0].ending == Ending::kStopped);
  CHECK(newest_checkpoint(world.spec.run_dir) >= 0);
}

TEST_CASE("launch: the second INT kills ranks that do not listen", "[fault]") {
  World world(2, {"--steps", "100000", "--ignore-stop"});
  const pid_t helper = when_ready(world, [](pid_t launcher) {
    ::kill(launcher, SIGINT);
    std::this_thread::sleep_for(500ms);
    ::kill(launcher, SIGINT);
  });
  const LaunchResult result = world.run("int");
  ::waitpid(helper, nullptr, 0);
  CHECK(result.exit_code == 130);
  CHECK(result.attempts[0].ending == Ending::kKilled);
}

TEST_CASE("launch: after a failure the next attempt continues from the newest checkpoint", "[fault]") {
  World world(2, {"--fault", "abort", "--fault-attempts", "1", "--checkpoint-every", "2", "--steps", "6"});
  world.spec.max_restarts = 1;
  const LaunchResult result = world.run("restart");
  CHECK(result.exit_code == 0);
  REQUIRE(result.attempts.size() == 2);
  CHECK(result.attempts[0].ending == Ending::kFailed);
  CHECK(fs::exists(world.spec.run_dir / "black_box" / "older-0" / "rank-1.status"));
  const auto box = read_flight_log(flight_file(world.spec.run_dir, 0));
  CHECK(box->events[1].step == 2);  // events[0] is kStart; step-1 was the newest checkpoint
}

TEST_CASE("launch: three attempts without a new checkpoint end in 93", "[fault]") {
  World world(2, {"--fault", "abort", "--fault-step", "0"});
  world.spec.max_restarts = 10;
  const LaunchResult result = world.run("no progress");
  CHECK(result.exit_code == 93);
  CHECK(result.attempts.size() == 3);
}

TEST_CASE("launch: when the launcher itself is killed, its ranks go too", "[fault]") {
  World world(2, {"--steps", "100000"});
  const pid_t launcher = ::fork();
  if (launcher == 0) {
    supervise(world.spec);
    ::_exit(0);
  }
  while (!all_ranks_ready(world.spec.run_dir, 2)) std::this_thread::sleep_for(20ms);
  REQUIRE(processes_of(world.spec.run_dir) >= 4);
  ::kill(launcher, SIGKILL);
  ::waitpid(launcher, nullptr, 0);
  const auto until = std::chrono::steady_clock::now() + 8s;
  while (processes_of(world.spec.run_dir) > 0 && std::chrono::steady_clock::now() < until) {
    while (::waitpid(-1, nullptr, WNOHANG) > 0) continue;  // this process is a subreaper by now
    std::this_thread::sleep_for(50ms);
  }
  CHECK(processes_of(world.spec.run_dir) == 0);
}

TEST_CASE("launch: a program that cannot be run, and an mpirun that is not there", "[fault]") {
  World world(1, {});
  world.spec.rank_program = {"/no/such/program"};
  const LaunchResult result = world.run("no program");
  CHECK(result.exit_code == 70);
  CHECK(result.attempts[0].failure->rank.status.exit_code == 127);
  CHECK_THAT(read_text(world.spec.run_dir / "logs" / "rank-0.out"), ContainsSubstring("cannot run /no/such/program"));

  world.spec.starter_program = "/no/such/mpirun";
  CHECK(supervise(world.spec).exit_code == 69);
}
