#include "sharding/memory_plan.h"

#include <algorithm>

#include "sharding/exact_sum.h"
#include "sharding/flat_space.h"

namespace muster::sharding {

MemoryPlan plan_memory(const PlanInput& input) {
  const ShardLayout layout(input.trainable_elements, input.world_size, input.bucket_bytes / input.wire_bytes);
  const std::int64_t shard = layout.shard_elements(), others = layout.padded_elements() - shard;
  const std::int64_t window_bytes = layout.window_elements() * input.wire_bytes;
  MemoryPlan plan;
  plan.bytes.parameters = layout.padded_elements() * input.param_bytes;
  plan.bytes.gradient_shard = shard * 4;
  plan.bytes.master = input.param_bytes == 4 ? 0 : shard * 4;  // fp32 parameters are their own master
  plan.bytes.moments = shard * 8;
  plan.transient.staging = window_bytes * std::min<std::int64_t>(kStagingWindows, layout.num_windows());
  plan.transient.receive = input.world_size > 1 ? window_bytes : 0;
  plan.transient.gradient = input.largest_parameter * input.param_bytes;
  plan.transient.consensus =
      8 * (2 * input.world_size + 1 + input.num_parameters + ExactSum::kLimbs * input.num_groups);
  plan.transient.snapshot = shard * 12;
  plan.frozen_parameters = input.frozen_elements * input.param_bytes;
  plan.reduce_bytes_per_step = others * input.wire_bytes * input.micro_batches_per_rank;
  plan.gather_bytes_per_step = shard * (input.world_size - 1) * input.param_bytes;
  return plan;
}

std::int64_t flat_elements(std::span<const std::int64_t> parameter_numels) {
  std::int64_t elements = 0;
  for (const std::int64_t numel : parameter_numels) elements += round_up(numel, kAlignment);
  return elements;
}

}  // namespace muster::sharding
