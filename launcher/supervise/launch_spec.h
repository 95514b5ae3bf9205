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

enum class StarterKind { kMpirun4, kMpirun5, kSrun };

// What starts the ranks.
struct Starter {
  StarterKind kind = StarterKind::kMpirun4;
  std::string program = "mpirun";    // or a path, or srun
  std::string version;               // as it says itself, for the record
  std::vector<std::string> options;  // more of srun's, after ours
};

// Where ranks go, and what each may use there.
struct Placement {
  std::vector<Host> hosts;         // with slots; empty: this machine, or what the scheduler gave
  std::vector<std::string> avoid;  // hosts of the allocation that srun must not use
  int ranks_per_node = 0;          // 0: as many as fit
  configs::CpuBinding cpu_binding = configs::CpuBinding::kNone;
  bool one_gpu = false;        // each rank sees the GPU of its local rank alone
  bool in_allocation = false;  // a scheduler says where ranks go and how many fit
};

// What is looked at while ranks run, and what is shown and kept of their words.
struct Watch {
  PhaseLimits limits;
  std::size_t max_output_bytes = 16u << 20;  // of each raw output file
  bool colour = false;                       // of what the ranks say on the terminal
  bool local_boxes = false;  // black boxes lie on the ranks' own machines while they run
  std::string beat_token;    // of the attempt that is made; see launcher/rank/beat.h
};

// One thing to try when ranks run out of memory.
struct Rung {
  std::string what;  // for the log
  // As --set takes them; all that this rung stands for, with those above it.
  std::vector<std::string> overrides;
  // True when training with it, and with those above it, gives the bits of the run without.
  bool keeps_bits = false;
  bool reorders_data = false;  // an epoch that was begun above it must begin anew
};

// When the world is started again, and how it may differ then.
struct Restart {
  std::int64_t max_restarts = 0;
  std::vector<Rung> ladder;    // what to try after running out of memory, one after the other
  int rung = 0;                // how many of them are taken
  double backoff_s = 1;        // before the n-th restart without progress: n times this
  std::int64_t min_ranks = 0;  // fewer hosts may be used down to this many ranks; 0: never fewer
  std::int64_t micro_batches = 1;  // G of a step: what fewer ranks must divide
};

struct LaunchSpec {
  std::filesystem::path run_dir;
  int ranks = 1;
  std::int64_t threads_per_rank = 1;
  std::vector<std::string> wrapper;                // {"/path/muster-rank-wrap"}
  std::vector<std::string> rank_program;           // {"/path/muster", "train", "config.yaml", ...}
  std::map<std::string, std::string> environment;  // of the ranks, from launch.environment
  bool as_root = false;
  // The command that goes on with a run that was stopped, as people type it; "" when nobody has to.
  std::string continue_with;

  Starter starter;
  Placement placement;
  Watch watch;
  Restart restart;
};

// The overrides of the rung that is taken; none at the top of the ladder.
std::vector<std::string> rung_overrides(const Restart& restart);
bool reorders_data(const Restart& restart);  // likewise

}  // namespace muster::launcher
