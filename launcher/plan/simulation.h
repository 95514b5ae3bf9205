// The run on machines nobody has at hand: step time and exposed communication per number of GPUs.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "configs/config.h"
#include "launcher/plan/plan.h"
#include "sharding/plan/simulator.h"

namespace muster::launcher {

// What a cluster sustains, not what its data sheet says.
struct ClusterModel {
  double flops = 0;               // of one rank, in the model's dtype
  double memory_bytes_per_s = 0;  // of one rank
  double host_bytes_per_s = 0;    // of the host's memory, for one rank
  double pcie_bytes_per_s = 0;    // between a rank's GPU and its host, each way
  sharding::Network network;
};

struct SimulatedRun {
  int ranks = 0;
  std::int64_t micro_batches_per_rank = 0, bytes_per_rank = 0;
  bool on_host = false;         // the optimizer is
  sharding::Simulation step;    // as the config reduces
  sharding::Simulation native;  // had it sharding.reduce: native
};

// The one message of a step (docs/sharding.md): what the engine agrees on, and what the loop adds
// for `micro_batches` of all ranks.
std::int64_t consensus_bytes(const RunPlan& plan, std::int64_t micro_batches);

// Weak scaling: every rank keeps the micro-batches it has on `ranks.front()` of them.
std::vector<SimulatedRun> simulate_run(const configs::Config& config,
                                       const model::QwenConfig& model, const MicroBatchShape& shape,
                                       const ClusterModel& cluster, const std::vector<int>& ranks);

std::string format_simulation(const std::vector<SimulatedRun>& runs, const ClusterModel& cluster);

}  // namespace muster::launcher
