// Exact bytes per rank and traffic per step, from the layout alone: nothing is allocated.
#pragma once

#include <cstdint>
#include <span>

#include "sharding/plan/ledger.h"

namespace muster::sharding {

constexpr int kStagingWindows = 3;  // send buffers: one being filled, one on the wire, one waiting

// Where the fp32 value behind a 16-bit parameter lives; see optimizer_state.h. fp32 parameters are
// their own master.
enum class MasterKind { kFloat32, kSplit, kNone };

// What an optimizer on the host holds there, all of it of this rank's slices.
struct HostBytes {
  std::int64_t parameters = 0, gradient = 0, master = 0, moments = 0, ema = 0;
  std::int64_t total() const { return parameters + gradient + master + moments + ema; }
  bool operator==(const HostBytes&) const = default;
};

// Bytes this rank holds, by category, as promised by MemoryPlan and kept by law 7.
struct EngineBytes {
  std::int64_t parameters = 0, gradient_shard = 0, master = 0, moments = 0, staging = 0,
               accumulation = 0, ema = 0;
  std::int64_t partial_sums = 0;  // of `reduce: tree`, beside the gradient shard
  HostBytes host = {};            // beside a device: not in the total
  std::int64_t total() const {
    return parameters + gradient_shard + master + moments + staging + accumulation + ema +
           partial_sums;
  }
  bool operator==(const EngineBytes&) const = default;
};

struct PlanInput {
  std::int64_t trainable_elements = 0;  // with alignment gaps; see FlatSpace
  std::int64_t frozen_elements = 0;
  int world_size = 1;
  std::int64_t bucket_bytes = 0;
  int param_bytes = 4;  // per element, of the model's dtype
  int wire_bytes = 4;
  std::int64_t micro_batches_per_rank = 1;
  std::int64_t accumulation_budget_bytes = 0;
  bool native_reduce = false, tree_reduce = false;
  int ranks_per_node = 1;  // next to each other; matters to a tree alone
  MasterKind master = MasterKind::kFloat32;
  bool bf16_moments = false;
  bool ema = false;                    // a running mean is kept
  std::int64_t largest_parameter = 0;  // elements of one trainable parameter
  std::int64_t num_parameters = 0, num_groups = 0;
  bool optimizer_on_host = false;  // which is not where the parameters are
};

struct MemoryPlan {
  EngineBytes bytes;  // held between steps: staging is 0
  // The most of each kind, while gradients come in about reverse registration order; the consensus
  // counts what the layout alone decides.
  TransientBytes transient;
  std::int64_t frozen_parameters = 0;
  std::int64_t reduce_bytes_per_step = 0, gather_bytes_per_step = 0;  // sent by one rank
  // Between the device and an optimizer on the host: gradients there, parameters back.
  std::int64_t fetched_bytes_per_step = 0, put_back_bytes_per_step = 0;
};

MemoryPlan plan_memory(const PlanInput& input);
// Elements of the flat space that holds parameters of these sizes (64-element starts, padded end).
std::int64_t flat_elements(std::span<const std::int64_t> parameter_numels);

}  // namespace muster::sharding
