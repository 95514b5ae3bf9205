#include "sharding/plan/memory_plan.h"

#include <algorithm>
#include <utility>

#include "sharding/kernels/exact_sum.h"
#include "sharding/kernels/reduce_tree.h"
#include "sharding/layout/flat_space.h"

namespace muster::sharding {
namespace {

std::int64_t master_bytes(MasterKind master) {
  if (master == MasterKind::kNone) return 0;
  return master == MasterKind::kSplit ? 2 : 4;
}

// A tree sends sums in fp32 after its first phase, and keeps some of this rank's slices.
void plan_tree(const PlanInput& input, const ShardLayout& layout, std::int64_t sharded,
               MemoryPlan& plan) {
  const auto traffic = [&](std::int64_t elements) {
    return tree_traffic(elements, input.wire_bytes, input.world_size, input.ranks_per_node);
  };
  const int rows = reduce_radices(input.world_size, input.ranks_per_node).back();
  const int most = most_partial_sums(rows, input.micro_batches_per_rank);
  plan.bytes.partial_sums = (most - 1) * layout.shard_elements() * 4;
  plan.transient.receive = traffic(layout.window_elements()).buffers;
  plan.reduce_bytes_per_step = traffic(sharded).sent * input.micro_batches_per_rank +
                               traffic(layout.padded_elements() - sharded).sent;
}

}  // namespace

MemoryPlan plan_memory(const PlanInput& input) {
  const ShardLayout layout(input.trainable_elements, input.world_size,
                           input.bucket_bytes / input.wire_bytes);
  const std::int64_t shard = layout.shard_elements();
  const std::int64_t others = layout.padded_elements() - shard;
  const std::int64_t window_bytes = layout.window_elements() * input.wire_bytes;
  MemoryPlan plan;
  plan.bytes.parameters = layout.padded_elements() * input.param_bytes;
  plan.bytes.gradient_shard = shard * 4;
  const bool own_master = input.param_bytes == 4;  // fp32 parameters need none beside them
  plan.bytes.master = own_master ? 0 : shard * master_bytes(input.master);
  plan.bytes.moments = shard * (input.bf16_moments ? 4 : 8);
  plan.bytes.ema = input.ema ? shard * 4 : 0;
  if (input.optimizer_on_host) {
    plan.bytes.host = {.parameters = shard * input.param_bytes,
                       .gradient = shard * 4,
                       .master = std::exchange(plan.bytes.master, 0),
                       .moments = std::exchange(plan.bytes.moments, 0),
                       .ema = std::exchange(plan.bytes.ema, 0)};
    plan.fetched_bytes_per_step = plan.bytes.host.gradient;
    plan.put_back_bytes_per_step = plan.bytes.host.parameters;
  }
  const int first_local = first_local_window(layout, input.accumulation_budget_bytes);
  const std::int64_t sharded =
      std::min(first_local * layout.window_elements(), layout.padded_elements());
  plan.bytes.accumulation = (layout.padded_elements() - sharded) * 4;
  const std::int64_t received = window_bytes / (input.native_reduce ? input.world_size : 1);
  plan.transient.staging =
      window_bytes * std::min<std::int64_t>(kStagingWindows, layout.num_windows());
  plan.transient.receive = input.world_size > 1 ? received : 0;
  plan.transient.gradient = input.largest_parameter * input.param_bytes;
  plan.transient.consensus =
      8 * (2 * input.world_size + 1 + input.num_parameters + ExactSum::kLimbs * input.num_groups);
  plan.transient.snapshot = shard * (input.ema ? 16 : 12);
  plan.frozen_parameters = input.frozen_elements * input.param_bytes;
  const std::int64_t sharded_others = sharded / input.world_size * (input.world_size - 1);
  plan.reduce_bytes_per_step =
      (sharded_others * input.micro_batches_per_rank + others - sharded_others) * input.wire_bytes;
  if (input.tree_reduce) plan_tree(input, layout, sharded, plan);
  plan.gather_bytes_per_step = shard * (input.world_size - 1) * input.param_bytes;
  return plan;
}

std::int64_t flat_elements(std::span<const std::int64_t> parameter_numels) {
  std::int64_t elements = 0;
  for (const std::int64_t numel : parameter_numels) elements += round_up(numel, kAlignment);
  return elements;
}

}  // namespace muster::sharding
