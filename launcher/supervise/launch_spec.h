// Everything launch needs to know, resolved: no config, no environment, no side effects. Tests
// build one by hand.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "configs/choices.h"
#include "launcher/rank/heartbeat.h"
#include "launcher/supervise/hosts.h"

namespace muster::launcher {

enum class Starter { kMpirun4, kMpirun5, kSrun };

// One thing to try when ranks run out of memory.
struct Rung {
  std::string what;  // for the log
  std::vector<std::string>
      overrides;  // as --set takes them; all that this rung stands for, with those above it
};

struct LaunchSpec {
  std::filesystem::path run_dir;
  int ranks = 1;
  Starter starter = Starter::kMpirun4;
  std::string starter_program = "mpirun";          // or a path, or srun
  std::string starter_version;                     // as it says itself, for the record
  std::vector<std::string> starter_options;        // more of srun's, after ours
  std::vector<std::string> wrapper;                // {"/path/muster-rank-wrap"}
  std::vector<std::string> rank_program;           // {"/path/muster", "train", "config.yaml", ...}
  std::map<std::string, std::string> environment;  // of the ranks, from launch.environment
  std::int64_t threads_per_rank = 1;
  std::vector<Host> hosts;         // with slots; empty: this machine, or what the scheduler gave
  std::vector<std::string> avoid;  // hosts of the allocation that srun must not use
  int ranks_per_node = 0;          // 0: as many as fit
  configs::CpuBinding cpu_binding = configs::CpuBinding::kNone;
  bool one_gpu = false;        // each rank sees the GPU of its local rank alone
  bool in_allocation = false;  // a scheduler says where ranks go and how many fit
  bool as_root = false;
  PhaseLimits limits;
  std::int64_t max_restarts = 0;
  std::int64_t micro_batches_per_step = 1;  // G: what fewer ranks must divide
  std::int64_t min_ranks =
      0;  // a restart may use fewer hosts down to this many ranks; 0: never fewer
  std::vector<Rung> ladder;  // after running out of memory
  int ladder_rung = 0;       // how many of them are taken
  double backoff_s = 1;      // before the n-th restart without progress: n times this
  std::size_t max_output_bytes = 16u << 20;  // of each raw output file
  bool colour = false;                       // of what the ranks say on the terminal
};

}  // namespace muster::launcher
