// How a run is doing, from its folder alone: nothing is asked of the ranks.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "launcher/rank/first_failure.h"
#include "launcher/supervise/scontrol.h"

namespace muster::launcher {

struct RankNow {
  int rank = -1;
  std::string host = {};
  std::string phase = {};
  // "" while it runs, else "code 70", "code 0 before the end", "signal 9", "torn down (signal 9)".
  std::string end = {};
  std::int64_t step = -1;
  std::int64_t collective = -1;
  double silent_s = 0;  // since its newest event
};

struct RunStatus {
  std::filesystem::path run_dir;
  // "not started", "running", "lost" (the launcher is gone), or how the last attempt ended.
  std::string state;
  int ranks = 0;
  int attempt = 0;
  int restarts = 0;
  std::int64_t step = 0;
  std::int64_t max_steps = 0;  // 0: not known
  std::optional<double> loss;
  std::optional<double> eta_s;
  std::optional<int> exit_code;
  std::string what;                           // of the last attempt that ended
  std::optional<FirstFailure> first_failure;  // of the newest attempt, when a rank can be named
  std::vector<std::string> changes;           // rungs of the memory ladder, hosts left out
  std::vector<std::string> damaged;           // files that could not be used
  std::vector<RankNow> ranks_now;
  std::optional<SlurmJob> job;
};

// Throws UsageError when the folder holds no run.
RunStatus read_status(const std::filesystem::path& run_dir);

std::string status_as_text(const RunStatus& status);
std::string status_as_json(const RunStatus& status);

}  // namespace muster::launcher
