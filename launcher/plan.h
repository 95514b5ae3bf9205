// What a run will hold and send, from the config alone: no weight is allocated.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "configs/config.h"
#include "model/config.h"
#include "sharding/memory_plan.h"

namespace muster::launcher {

struct GroupCount {
  std::string name;
  std::int64_t tensors = 0, elements = 0;
  double lr = 0, weight_decay = 0;
};

struct RunPlan {
  std::vector<GroupCount> groups;     // law 3's order
  sharding::MemoryPlan memory;        // of one rank
  std::int64_t activation_bytes = 0;  // estimate for the largest micro-batch
  std::int64_t available_bytes = 0;   // of this machine, shared by the ranks on it
  std::int64_t rank_bytes() const { return memory.bytes.total() + memory.frozen_parameters + activation_bytes; }
};

// Throws ConfigError naming a parameter that belongs to no group.
RunPlan make_plan(const configs::Config& config, const model::QwenConfig& model, int ranks);

// Who holds what on one rank, one line each.
std::string memory_table(const RunPlan& plan);

// The table people read; ends with what to change when it does not fit `ranks_per_node` ranks on this machine.
std::string format_plan(const RunPlan& plan, const configs::Config& config, int ranks);

}  // namespace muster::launcher
