// How a run is doing, from its folder alone: nothing is asked of the ranks.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace muster::launcher {

struct RankNow {
  int rank = -1;
  std::string host, phase, end;  // end: "" while it runs, else "code 70", "signal 9"
  std::int64_t step = -1, collective = -1;
  double silent_s = 0;  // since its newest event
};

struct JobStatus {
  std::string id, state, reason;
  std::filesystem::path run_dir;
  int restarts = 0;
};

struct RunStatus {
  std::filesystem::path run_dir;
  std::string state;  // "not started", "running", "lost" (the launcher is gone), or how the last
                      // attempt ended
  int ranks = 0, attempt = 0, restarts = 0;
  std::int64_t step = 0, max_steps = 0;  // 0: not known
  std::optional<double> loss, eta_s;
  std::optional<int> exit_code;
  std::string what;                  // of the last attempt that ended
  std::vector<std::string> changes;  // rungs of the memory ladder, hosts left out
  std::vector<RankNow> ranks_now;
  std::optional<JobStatus> job;
};

// Throws UsageError when the folder holds no run.
RunStatus read_status(const std::filesystem::path& run_dir);

std::string status_as_text(const RunStatus& status);
std::string status_as_json(const RunStatus& status);

// From `scontrol show job`. The run folder is two above the job's log, as slurm/train.sbatch says.
// Throws UsageError when the text is of no job.
JobStatus parse_job_status(std::string_view text);
bool is_job_id(std::string_view text);  // digits, "_" and digits for a member of an array

}  // namespace muster::launcher
