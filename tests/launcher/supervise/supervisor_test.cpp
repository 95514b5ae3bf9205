// Real processes: mpirun starts wrappers and fake ranks, one of which fails in a known way. The
// supervisor must name it, answer with the documented code, and leave nobody behind.
#include "launcher/supervise/supervisor.h"

#include <fcntl.h>
#include <fmt/core.h>
#include <sys/mount.h>
#include <sys/wait.h>

#include <catch2/catch_test_macros.hpp>
#include <catch2/matchers/catch_matchers_string.hpp>
#include <chrono>
#include <csignal>
#include <fstream>
#include <functional>
#include <nlohmann/json.hpp>
#include <thread>

#include "base/clock.h"
#include "base/files.h"
#include "base/process/atomic_file.h"
#include "base/process/process_tree.h"
#include "base/text.h"
#include "launcher/rank/mpi_segments.h"
#include "launcher/rank/segment_file.h"
#include "launcher/supervise/command_builder.h"
#include "launcher/supervise/fake_world.h"
#include "launcher/supervise/status.h"
#include "launcher/triage/triage.h"
#include "launcher/triage/verdict_text.h"

using namespace muster;
using namespace muster::launcher;
using namespace std::chrono_literals;
using Catch::Matchers::ContainsSubstring;
using fake::all_ranks_ready;
using fake::child_named;
using fake::culprit;
using fake::processes_of;
using fake::when_ready;
using fake::World;
using muster::test::SegmentFile;

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
             ContainsSubstring("[rank 0] rank 0 finished") &&
                 ContainsSubstring("[rank 1] rank 1 finished"));
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

TEST_CASE("launch: a rank killed by SIGKILL, while its peers complain about the lost connection",
          "[fault]") {
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
  const fs::path& run_dir = world.spec.run_dir;
  const Diary diary = load_diary(test::source_dir() / "DEBUG_DIARY.md");
  const Evidence evidence = gather(run_dir);
  const auto explained =
      nlohmann::json::parse(verdict_as_json(triage(evidence, diary), run_dir))["first"];
  CHECK(explained["rank"] == 1);
  CHECK(explained["exit_code"] == 0);
  CHECK(explained["step"] == 3);
  const auto status = nlohmann::json::parse(status_as_json(read_status(run_dir)));
  CHECK_THAT(status["what"].get<std::string>(), ContainsSubstring("rank 1 on"));
  CHECK(status["ranks"][1]["end"] == "code 0 before the end");
  CHECK_THAT(status["ranks"][0]["end"].get<std::string>(), ContainsSubstring("torn down"));
}

// What somebody at a terminal sees of one Ctrl-C: the kernel sends INT to the whole group.
TEST_CASE("launch: one Ctrl-C prints one line, and the last line says how to continue", "[fault]") {
  World world(2, {"--steps", "100000"});
  world.spec.continue_with = "muster launch c.yaml -n 2";
  const fs::path shown = world.spec.run_dir / "shown.txt";
  const pid_t launcher = ::fork();
  if (launcher == 0) {
    ::setpgid(0, 0);
    ::dup2(::open(shown.c_str(), O_CREAT | O_WRONLY | O_APPEND, 0600), STDERR_FILENO);
    ::_exit(supervise(world.spec).exit_code);
  }
  while (!all_ranks_ready(world.spec.run_dir, 2)) std::this_thread::sleep_for(20ms);
  ::kill(-launcher, SIGINT);
  int how = 0;
  ::waitpid(launcher, &how, 0);
  CHECK(WEXITSTATUS(how) == 75);
  std::vector<std::string> lines = split(read_text(shown), '\n');
  std::erase(lines, "");
  INFO(read_text(shown));
  REQUIRE(lines.size() == 4);
  CHECK_THAT(lines[0], ContainsSubstring("attempt 0: 2 ranks"));
  CHECK_THAT(lines[1], ContainsSubstring("got INT: stopping after this step") &&
                           ContainsSubstring("press Ctrl-C again"));
  CHECK_THAT(lines[2], ContainsSubstring("attempt 0 stopped"));
  CHECK_THAT(lines[3], ContainsSubstring("to continue from step") &&
                           ContainsSubstring(": muster launch c.yaml -n 2"));
}

TEST_CASE("launch: a numeric abort is passed on and never restarted", "[fault]") {
  World world(2, {"--fault", "nan"});
  world.spec.restart.max_restarts = 3;
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
  REQUIRE(result.attempts[0].hang);
  CHECK(result.attempts[0].hang->silent_s - result.attempts[0].hang->limit_s < 2);
  std::vector<int> cascade;
  for (const CascadeRank& rank : result.attempts[0].cascade) cascade.push_back(rank.rank);
  CHECK(cascade == std::vector<int>{0, 2});
  const auto record = nlohmann::json::parse(read_text(world.spec.run_dir / "launch.json"));
  CHECK(record["attempts"][0]["hang"]["limit_s"] == 1.0);
  CHECK(record["attempts"][0]["cascade"].size() == 2);
}

TEST_CASE("launch: a rank that never arrives is a hang by the start limit", "[fault]") {
  World world(2, {"--fault", "never-starts"});
  world.spec.watch.limits.start_s = 4;  // the others are there by then, on a busy machine, too
  const LaunchResult result = world.run("never-starts");
  CHECK(result.exit_code == 71);
  CHECK(culprit(result) == 1);
}

TEST_CASE("launch: USR2 checkpoints at a step boundary and leaves with 75", "[fault]") {
  World world(2, {"--steps", "1000"});
  world.spec.restart.max_restarts = 3;
  const pid_t helper = when_ready(world, [](pid_t launcher) { ::kill(launcher, SIGUSR2); });
  const LaunchResult result = world.run("usr2");
  ::waitpid(helper, nullptr, 0);
  CHECK(result.exit_code == 75);
  CHECK(result.attempts.size() == 1);
  CHECK(result.attempts[0].ending == Ending::kStopped);
  CHECK(newest_checkpoint(world.spec.run_dir) >= 0);
}

TEST_CASE("launch: the first INT is a checkpoint at the step boundary", "[fault]") {
  World world(2, {"--steps", "100000"});
  const pid_t helper = when_ready(world, [](pid_t launcher) { ::kill(launcher, SIGINT); });
  const LaunchResult result = world.run("int once");
  ::waitpid(helper, nullptr, 0);
  CHECK(result.exit_code == 75);
  CHECK(newest_checkpoint(world.spec.run_dir) >= 0);
}

TEST_CASE("launch: when mpirun is killed its ranks go too, and the run starts again", "[fault]") {
  World world(2, {"--steps", "40", "--step-ms", "50", "--checkpoint-every", "1"});
  world.spec.restart.max_restarts = 1;
  const pid_t helper = when_ready(world, [](pid_t launcher) {
    const pid_t mpirun = fake::starter_of(launcher);
    if (mpirun > 0) ::kill(mpirun, SIGKILL);
  });
  const LaunchResult result = world.run("mpirun");
  ::waitpid(helper, nullptr, 0);
  CHECK(result.exit_code == 0);
  REQUIRE(result.attempts.size() == 2);
  CHECK(result.attempts[0].starter_code == 128 + SIGKILL);
  CHECK_THAT(result.attempts[0].what, ContainsSubstring("mpirun itself was killed by signal 9"));
}

TEST_CASE("launch: a killed mpirun's shared memory is removed, another job's is not", "[fault]") {
  const auto job_in = [](const World& world) {
    return read_rank_status(world.spec.run_dir, 0).value_or(RankStatus{}).mpi_job;
  };
  const auto files_of = [](const std::string& job) {
    REQUIRE_FALSE(job.empty());
    int files = 0;
    for (const auto& entry : fs::directory_iterator(kSegmentFolder))
      files += entry.path().filename().string().find("." + job + ".") != std::string::npos;
    return files;
  };
  const auto wait_until = [](const std::function<bool()>& holds) {
    for (int tries = 0; tries < 500 && !holds(); ++tries) std::this_thread::sleep_for(20ms);
    REQUIRE(holds());
  };
  // A job of this user on this host that goes on meanwhile, and the file of one that is not here.
  const SegmentFile foreign(fmt::format("vader_segment.{}.{}.f00d0001.0", own_host(), ::geteuid()));
  const World other(2, {"--steps", "100000"});
  const Command command = build_command(other.spec, 0);
  ProcessTree live;
  live.spawn(command.argv, command.environment);
  wait_until([&] { return all_ranks_ready(other.spec.run_dir, 2); });
  CHECK(files_of(job_in(other)) == 2);

  World world(2, {"--steps", "40", "--step-ms", "50", "--checkpoint-every", "1"});
  world.spec.restart.max_restarts = 1;
  const fs::path seen = world.dir.path() / "seen";
  const pid_t helper = when_ready(world, [&](pid_t launcher) {
    for (const pid_t starter : fake::starters_of(launcher)) {
      if (!fake::names(fs::path("/proc") / std::to_string(starter), world.dir.path())) continue;
      const std::string job = job_in(world);
      write_text(seen, fmt::format("{} {}", job, files_of(job)));
      ::kill(starter, SIGKILL);
    }
  });
  const LaunchResult result = world.run("segments");
  ::waitpid(helper, nullptr, 0);
  CHECK(result.exit_code == 0);
  REQUIRE(result.attempts.size() == 2);
  CHECK(result.attempts[0].starter_code == 128 + SIGKILL);
  const std::vector<std::string> killed = split(read_text(seen), ' ');
  CHECK(killed.at(1) == "2");  // the control: there were some
  CHECK(killed.at(0) != job_in(world));
  CHECK(files_of(killed.at(0)) == 0);
  CHECK(files_of(job_in(world)) == 0);
  CHECK(files_of(job_in(other)) == 2);
  CHECK(fs::exists(foreign.path));

  CHECK_FALSE(live.poll());
  live.signal(SIGUSR2);
  wait_until([&] { return live.poll().has_value(); });
  for (const int rank : {0, 1}) CHECK(read_rank_status(other.spec.run_dir, rank)->exit_code == 75);
}

TEST_CASE("launch: out of memory steps down the ladder and says so; 78 below its last rung",
          "[fault]") {
  World world(
      2, {"--fault", "oom", "--fault-attempts", "2", "--steps", "5", "--checkpoint-every", "1"});
  world.spec.restart.max_restarts = 1;
  world.spec.restart.ladder = {{"recompute", {"a.b=1"}}, {"half", {"a.b=1", "c.d=2"}}};
  const LaunchResult result = world.run("ladder");
  CHECK(result.exit_code == 0);
  CHECK(result.attempts.size() == 3);
  REQUIRE(result.changes.size() == 2);
  CHECK(result.changes[1].attempt == 2);
  CHECK_THAT(result.changes[1].what, ContainsSubstring("memory ladder, rung 2 of 2: half (T-005)"));
  CHECK_THAT(read_text(world.spec.run_dir / "logs" / "rank-0.out"),
             ContainsSubstring("rank 0 set c.d=2"));
  const auto record = nlohmann::json::parse(read_text(world.spec.run_dir / "launch.json"));
  CHECK(record["ladder_rung"] == 2);
  CHECK(record["changes"].size() == 2);

  world.spec.rank_program.insert(world.spec.rank_program.end(),
                                 {"--fault", "none", "--steps", "7"});  // a later launch
  CHECK(world.run("continued").attempts.size() == 1);
  const auto later = nlohmann::json::parse(read_text(world.spec.run_dir / "launch.json"));
  CHECK(later["ladder_rung"] == 2);
  CHECK(later["changes"].empty());

  World small(1, {"--fault", "oom", "--fault-rank", "0", "--steps", "5"});
  small.spec.restart.max_restarts = 3;
  small.spec.restart.ladder = {{"recompute", {"a.b=1"}}};
  CHECK(small.run("exhausted").exit_code == 78);
}

TEST_CASE("launch: a rung on which the data does not fit is out of memory, not bad data",
          "[fault]") {
  World world(1, {"--fault-rank", "0", "--steps", "5"});
  world.spec.rank_program = {"/bin/sh", "-c", "case \"$*\" in *less*) exit 65;; *) exit 78;; esac",
                             "sh"};
  world.spec.restart.max_restarts = 3;
  world.spec.restart.ladder = {{"less", {"a.b=less"}}};
  const LaunchResult result = world.run("rung too low");
  CHECK(result.exit_code == 78);
  CHECK(result.attempts.size() == 2);
  CHECK_THAT(result.attempts[1].what, ContainsSubstring("one rung lower the data does not fit"));
}

// The other codes come from what they stand for, in this file and in end_to_end_test.cpp.
TEST_CASE("launch: a rank's documented exit code passes through mpirun and the wrapper",
          "[fault]") {
  for (const int code : {64, 74}) {
    World world(1, {"--fault", "code" + std::to_string(code), "--fault-rank", "0", "--fault-step",
                    "0", "--step-ms", "0"});
    CHECK(world.run("code").exit_code == code);
  }
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

TEST_CASE("launch: after a failure the next attempt continues from the newest checkpoint",
          "[fault]") {
  World world(
      2, {"--fault", "abort", "--fault-attempts", "1", "--checkpoint-every", "2", "--steps", "6"});
  world.spec.restart.max_restarts = 1;
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
  world.spec.restart.max_restarts = 10;
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
  CHECK_THAT(read_text(world.spec.run_dir / "logs" / "rank-0.out"),
             ContainsSubstring("cannot run /no/such/program"));

  world.spec.starter.program = "/no/such/mpirun";
  CHECK(supervise(world.spec).exit_code == 69);
}

namespace {

// The library that makes a process believe another time, "" when it is not installed.
std::string fake_time_library() {
  for (const char* folder :
       {"/usr/lib/x86_64-linux-gnu", "/usr/lib/aarch64-linux-gnu", "/usr/lib64"}) {
    const fs::path library = fs::path(folder) / "faketime" / "libfaketimeMT.so.1";
    if (fs::exists(library)) return library.string();
  }
  return "";
}

// Rank 1's wrapper and rank live `offset` away from the others, as on a host with a wrong clock.
// What the file holds may change while they run.
void shift_rank_1(fake::World& world, const fs::path& offset_file) {
  const std::string shifted = fmt::format(
      "if [ \"$OMPI_COMM_WORLD_RANK\" = 1 ]; then export LD_PRELOAD={} FAKETIME_TIMESTAMP_FILE={} "
      "FAKETIME_NO_CACHE=1 FAKETIME_DONT_FAKE_MONOTONIC=1; fi; exec \"$0\" \"$@\"",
      fake_time_library(), offset_file.string());
  world.spec.wrapper.insert(world.spec.wrapper.begin(), {"/bin/sh", "-c", shifted});
}

}  // namespace

TEST_CASE("clocks: ranks of a machine whose clock is wrong are not killed, and are blamed rightly",
          "[mpi][fault]") {
  if (fake_time_library().empty()) SKIP("libfaketime is not installed (package faketime)");
  for (const char* offset : {"-10", "+10", "-3600", "+3600"}) {
    INFO(offset);
    const TempDir dir;
    write_text(dir.path() / "offset", offset);
    fake::World healthy(2, {"--steps", "60"});
    shift_rank_1(healthy, dir.path() / "offset");
    const LaunchResult done = healthy.run("skewed");
    CHECK(done.exit_code == 0);
    CHECK(done.attempts.size() == 1);

    // Rank 1 fails and rank 0 complains of it a moment later. By its own clock rank 1 failed an
    // hour after, or before.
    fake::World failing(2, {"--fault", "exit3", "--fault-rank", "1", "--peers-complain"});
    failing.spec.restart.max_restarts = 0;
    shift_rank_1(failing, dir.path() / "offset");
    CHECK(fake::culprit(failing.run("skewed")) == 1);
  }
}

TEST_CASE("clocks: a clock that jumps during the run is no hang", "[mpi][fault]") {
  if (fake_time_library().empty()) SKIP("libfaketime is not installed (package faketime)");
  const TempDir dir;
  const fs::path offset = dir.path() / "offset";
  write_text(offset, "+0");
  fake::World world(2, {"--steps", "150"});
  shift_rank_1(world, offset);
  const pid_t jump = fake::when_ready(world, [&](pid_t) {
    write_text(offset, "+3600");
    std::this_thread::sleep_for(std::chrono::seconds(1));
    write_text(offset, "-3600");
  });
  const LaunchResult result = world.run("jump");
  ::waitpid(jump, nullptr, 0);
  CHECK(result.exit_code == 0);
  CHECK(result.attempts.size() == 1);
}

namespace {

// Process 0 would be the whole group of this test.
void signal_process(pid_t process, int signal) {
  if (process > 0) ::kill(process, signal);
}

}  // namespace

TEST_CASE("stories: a signal to mpirun, and a killed wrapper, are no lost node", "[mpi][fault]") {
  {
    fake::World world(2, {"--steps", "4000"});
    world.spec.restart.max_restarts = 0;
    const pid_t killer = fake::when_ready(
        world, [](pid_t launcher) { signal_process(fake::starter_of(launcher), SIGTERM); });
    const LaunchResult result = world.run("TERM mpirun");
    ::waitpid(killer, nullptr, 0);
    CHECK_THAT(result.attempts.back().what,
               ContainsSubstring("was told to end") && !ContainsSubstring("R-007"));
  }
  fake::World world(2, {"--steps", "4000"});
  world.spec.restart.max_restarts = 0;
  const pid_t killer = fake::when_ready(world, [](pid_t launcher) {
    signal_process(fake::child_named(fake::starter_of(launcher), "muster-rank-wra"), SIGKILL);
  });
  const LaunchResult result = world.run("KILL wrapper");
  ::waitpid(killer, nullptr, 0);
  CHECK_THAT(result.attempts.back().what,
             ContainsSubstring("wrapper of rank") && !ContainsSubstring("R-007"));
}

TEST_CASE("stories: a run folder on a full disk is said to be that", "[mpi][fault]") {
  fake::World world(2, {"--steps", "4000"});
  world.spec.restart.max_restarts = 0;
  if (::mount("tmpfs", world.dir.path().c_str(), "tmpfs", 0, "size=4m") != 0)
    SKIP("mounting a small disk is not allowed here");
  make_run_folder(world.dir.path());
  const pid_t filler = fake::when_ready(world, [&](pid_t launcher) {
    std::ofstream full(world.dir.path() / "full", std::ios::binary);
    const std::string block(4096, 'x');
    while (full.write(block.data(), 4096).flush()) continue;
    signal_process(fake::starter_of(launcher), SIGTERM);
  });
  const LaunchResult result = supervise(world.spec);
  ::waitpid(filler, nullptr, 0);
  ::umount2(world.dir.path().c_str(), MNT_DETACH);
  CHECK(result.exit_code == 74);
  CHECK_THAT(result.attempts.back().what, ContainsSubstring("R-009"));
}
