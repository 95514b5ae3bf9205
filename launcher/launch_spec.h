// Everything launch needs to know, resolved: no config, no environment, no side effects. Tests build one by hand.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "launcher/heartbeat.h"

namespace muster::launcher {

enum class Starter { kMpirun4, kMpirun5, kSrun };

struct LaunchSpec {
  std::filesystem::path run_dir;
  int ranks = 1;
  Starter starter = Starter::kMpirun4;
  std::string starter_program = "mpirun";          // or a path, or srun
  std::vector<std::string> starter_options;        // more of srun's, after ours
  std::vector<std::string> wrapper;                // {"/path/muster", "rank-wrap"}
  std::vector<std::string> rank_program;           // {"/path/muster", "train", "config.yaml", ...}
  std::map<std::string, std::string> environment;  // of the ranks, from launch.environment
  std::int64_t threads_per_rank = 1;
  bool in_allocation = false;  // a scheduler says where ranks go and how many fit
  bool as_root = false;
  PhaseLimits limits;
  std::int64_t max_restarts = 0;
  double backoff_s = 1;                      // before the n-th restart without progress: n times this
  std::size_t max_output_bytes = 16u << 20;  // of each raw output file
};

}  // namespace muster::launcher
