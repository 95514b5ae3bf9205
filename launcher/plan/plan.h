// What a run will hold and send, from the config alone: no weight is allocated.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "configs/config.h"
#include "launcher/plan/activations.h"
#include "model/files/config.h"
#include "sharding/plan/memory_plan.h"

namespace muster::launcher {

struct GroupCount {
  std::string name;
  std::int64_t tensors = 0, elements = 0;
  std::int64_t trained = 0;  // of the elements
  double least_factor = 1;   // on the rate, of those that train
  double lr = 0, weight_decay = 0;
};

struct RunPlan {
  int ranks = 1;
  std::vector<GroupCount> groups;  // law 3's order
  sharding::MemoryPlan memory;     // of one rank
  MicroBatchShape shape;           // the micro-batch that activations are estimated for
  ActivationBytes activations;
  std::int64_t process_bytes = 0;    // program and libraries
  std::int64_t available_bytes = 0;  // for one rank
  // Beside a GPU: a checkpoint's snapshot, and what one rank may hold there (0: not known).
  std::int64_t host_snapshot = 0, host_available_bytes = 0;
  std::int64_t trainable_elements = 0, trainable_tensors = 0;
  std::int64_t tied_offset = -1;  // flat position of a tied embedding, -1: none is trained

  std::int64_t states() const {
    return memory.bytes.total() + memory.transient.total() + memory.frozen_parameters;
  }
  std::int64_t total() const { return states() + activations.total() + process_bytes; }
  // In host memory beside a GPU; without one everything is in total().
  std::int64_t host_total() const { return memory.bytes.host.total() + host_snapshot; }
  bool fits() const { return fill() <= 1; }
  // The fullest memory: wanted over available.
  double fill() const;
};

// `available_bytes` 0: this machine's memory shared by the ranks, or 80 GiB on a GPU. Throws
// ConfigError naming a parameter that belongs to no group.
RunPlan make_plan(const configs::Config& config, const model::QwenConfig& model, int ranks,
                  const MicroBatchShape& shape, std::int64_t available_bytes = 0);
RunPlan make_plan(const configs::Config& config, const model::QwenConfig& model,
                  int ranks);  // for the largest allowed

}  // namespace muster::launcher
