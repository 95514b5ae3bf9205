// What a ZeroEngine is made of, and what its calls share.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "sharding/engine.h"
#include "sharding/engine_core.h"
#include "sharding/grad_reducer.h"
#include "sharding/host_offload.h"
#include "sharding/optimizer_state.h"
#include "sharding/param_gather.h"
#include "sharding/state/shard_store.h"
#include "sharding/update_meter.h"

namespace muster::sharding {

struct ZeroEngine::Impl {
  Impl(ParamRegistry registry, std::shared_ptr<Collective> collective, EngineOptions options);
  ~Impl();

  std::int64_t num_groups() const {
    return static_cast<std::int64_t>(core.registry.groups().size());
  }
  void on_reduced(int window);
  at::Tensor reduced(int window) const;
  void update(std::span<const double> lr, const StepVerdict& verdict, UpdateMeter* meter);  // [C]
  std::vector<AdamWRun> updates_of(int window, std::span<const double> lr, double scale,
                                   const UpdateMeter* meter) const;
  void add_untouched(UpdateMeter& meter) const;
  AdamWRun update_of(const Segment& segment, double lr, double scale) const;
  void forget_step();
  std::vector<Segment> segments_of(std::string_view name, const Slot*& slot) const;
  void gather_all();  // [C]
  LoadedShard read_agreed(const std::vector<std::filesystem::path>& files, ShardTensors& tensors);

  EngineCore core;
  std::string layout_text;
  at::Tensor flat;  // [padded elements] in the parameters' dtype: their memory
  std::vector<std::vector<Segment>> segments;  // per window: what this rank owns
  std::unique_ptr<HostOffload> host;           // null: the optimizer is with the parameters
  OptimizerState state;
  LossScaler scaler;
  at::Tensor limbs;     // [groups, ExactSum::kLimbs] i64: squares of this rank's reduced gradient
  at::Tensor bad_sums;  // [params] u8: whether the sum over ranks is not finite
  GradReducer reducer;
  ParamGather gather;
  std::vector<std::int64_t> param_steps;  // per parameter: updates it got, the same on all ranks
  std::vector<std::int64_t> used;  // per parameter: ranks with a gradient, as agreed for this step
  std::int64_t steps_taken = 0;
  TransientBytes step_peak;
};

}  // namespace muster::sharding
