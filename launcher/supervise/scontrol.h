// What SLURM's scontrol says about a job, as far as it matters here.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <string_view>

namespace muster::launcher {

struct SlurmJob {
  std::string id;
  std::string state = {};          // RUNNING, PENDING, CANCELLED, ...
  std::string reason = {};         // why it waits; "None" when it does not
  std::string nodes = {};          // "n[1-2]"
  std::filesystem::path log = {};  // of its standard output; "" when not said
  int restarts = 0;                // how often it was requeued
  bool batch = false;              // false: salloc, or srun on its own
  bool may_requeue = false;        // --requeue, and the site allows it

  // The run folder is two above the job's log, as slurm/train.sbatch says.
  std::filesystem::path run_dir() const { return log.parent_path().parent_path(); }
};

// Reads what `scontrol show job ID` says, with or without --oneliner. Returns nothing when that is
// not about a job.
std::optional<SlurmJob> parse_job(std::string_view text);

struct JobAnswer {
  std::optional<SlurmJob> job;
  std::string words;     // what scontrol said when that is not about a job
  bool started = false;  // false: there is no scontrol here
};
// Asks scontrol, for at most 60 s.
JobAnswer ask_for_job(const std::string& id);

bool is_job_id(std::string_view text);  // digits, "_" and digits for a member of an array

}  // namespace muster::launcher
