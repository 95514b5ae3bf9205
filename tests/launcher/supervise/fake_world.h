// A world of fake ranks under the real supervisor, and what a test may do to it.
#pragma once

#include <fmt/core.h>
#include <unistd.h>

#include <catch2/catch_test_macros.hpp>
#include <chrono>
#include <cstdio>
#include <fstream>
#include <functional>
#include <string>
#include <thread>
#include <vector>

#include "base/files.h"
#include "launcher/rank/run_folder.h"
#include "launcher/supervise/starter.h"
#include "launcher/supervise/supervisor.h"
#include "support/test_paths.h"

namespace muster::launcher::fake {

// Whether the process, given by its folder of /proc, names `dir` on its command line.
inline bool names(const fs::path& process, const fs::path& dir) {
  std::ifstream in(process / "cmdline");
  const std::string line((std::istreambuf_iterator<char>(in)), {});
  return line.find(dir.string()) != std::string::npos;
}

inline int processes_of(const fs::path& dir) {
  int found = 0;
  for (const auto& entry : fs::directory_iterator("/proc")) found += names(entry.path(), dir);
  return found;
}

struct World {
  TempDir dir{"muster-launch"};
  LaunchSpec spec;

  World(int ranks, std::vector<std::string> arguments) {
    const std::string program = (muster::test::build_dir() / "fake_rank").string();
    make_run_folder(dir.path());
    spec.run_dir = dir.path();
    spec.ranks = ranks;
    spec.as_root = ::geteuid() == 0;
    spec.wrapper = {(muster::test::build_dir() / "muster-rank-wrap").string()};
    spec.rank_program = {program, "rank", "--run-dir", dir.path().string()};
    spec.rank_program.insert(spec.rank_program.end(), arguments.begin(), arguments.end());
    spec.starter = ask_starter("mpirun", false);  // of the Open MPI that is first in PATH
    spec.watch.limits = {5, 1, 2};
    spec.restart.backoff_s = 0;
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

inline int culprit(const LaunchResult& result) {
  REQUIRE(result.attempts.back().failure);
  return result.attempts.back().failure->rank.status.rank;
}

inline std::vector<pid_t> children_named(pid_t parent, const std::string& name) {
  std::vector<pid_t> children;
  for (const auto& entry : fs::directory_iterator("/proc")) {
    std::ifstream in(entry.path() / "stat");
    std::string pid, comm, state, ppid;
    if (in >> pid >> comm >> state >> ppid && state != "Z" && comm == "(" + name + ")" &&
        ppid == std::to_string(parent))
      children.push_back(std::stoi(pid));
  }
  return children;
}

// The process of that name whose parent is `parent`, 0 when there is none.
inline pid_t child_named(pid_t parent, const std::string& name) {
  const std::vector<pid_t> children = children_named(parent, name);
  return children.empty() ? 0 : children.front();
}

// mpirun becomes prterun in Open MPI 5.
inline std::vector<pid_t> starters_of(pid_t launcher) {
  const std::vector<pid_t> mpiruns = children_named(launcher, "mpirun");
  return mpiruns.empty() ? children_named(launcher, "prterun") : mpiruns;
}

inline pid_t starter_of(pid_t launcher) {
  const std::vector<pid_t> starters = starters_of(launcher);
  return starters.empty() ? 0 : starters.front();
}

inline bool all_ranks_ready(const fs::path& run_dir, int ranks) {
  for (int rank = 0; rank < ranks; ++rank) {
    if (!read_flight_log(flight_file(run_dir, rank))) return false;
  }
  return true;
}

// Runs `action` in another process once every rank is stepping. (A thread here would take the
// signals it sends.)
inline pid_t when_ready(const World& world, const std::function<void(pid_t)>& action) {
  const pid_t target = ::getpid();
  const pid_t child = ::fork();
  if (child != 0) return child;
  while (!all_ranks_ready(world.spec.run_dir, world.spec.ranks))
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
  action(target);
  ::_exit(0);
}

}  // namespace muster::launcher::fake
