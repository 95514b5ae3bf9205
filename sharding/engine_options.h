// What an engine is made with, and what its ranks agree on in each step.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "base/phase.h"
#include "sharding/collectives/collective.h"
#include "sharding/plan/memory_plan.h"
#include "sharding/state/loss_scaler.h"

namespace muster::sharding {

enum class ReduceKind {
  kOrdered,  // all-to-all, then slices added in rank order: same bits for any world size
  kTree,     // added in a fixed binary tree, ranks of a node first: likewise, and other bits
  kNative    // the backend's reduce-scatter
};

// Where moments and masters live, and what updates them. The bits are the same.
enum class OptimizerDevice {
  kParameters,  // the parameters' device
  kHost         // the CPU's kernels, in host memory; gradients come and parameters go back
};

// What full() reads: kMaster is the parameter as the optimizer holds it; kGradient the reduced sum
// of this step.
enum class StateKind { kMaster, kGradient, kExpAvg, kExpAvgSq, kEma };

// The running mean of the masters, in the shards.
struct EmaOptions {
  double decay = 0;      // 0: none is kept
  std::int64_t tau = 0;  // the decay of a parameter's update t is decay * (1 - exp(-t / tau))

  bool on() const { return decay > 0; }
  double decay_at(std::int64_t update) const;  // from 1
};

// A bucket is handed over, or the main thread has learned that it is done.
struct CollectiveEvent {
  Phase phase;          // kReduce, kGather or kConsensus
  int bucket;           // -1: of none
  std::int64_t number;  // the collective's
  bool done;
};

struct EngineOptions {
  std::int64_t bucket_bytes = 0;  // of one window, in the wire dtype; > 0
  // Reduces on a worker thread during backward and gathers during the next forward.
  bool overlap = true;
  WireDtype wire_dtype = WireDtype::kFloat32;
  ReduceKind reduce = ReduceKind::kOrdered;
  // Of a step, at most, and how many ranks each machine has, next to each other; 1: not known.
  // kTree keeps and exchanges its sums by them; the bits do not depend on them.
  std::int64_t micro_batches_per_rank = 1;
  int ranks_per_node = 1;
  double beta1 = 0, beta2 = 0, eps = 0;  // betas of groups that have none of their own
  double clip_norm = 0;                  // 0: none
  // The last windows, as far as this reaches, are summed in fp32 on each rank and reduced once a
  // step, in consensus().
  std::int64_t accumulation_budget_bytes = 0;

  OptimizerDevice optimizer_device = OptimizerDevice::kParameters;
  // For tests; may be empty. Parameters on the CPU count as on a device of their own, so that kHost
  // copies in and out as beside a GPU. Told what is about to happen to a window (fetch, update, put
  // back), on the thread that does it.
  std::function<void(std::string_view what, int window)> apart;

  MasterKind master = MasterKind::kFloat32;
  bool bf16_moments = false;
  bool stochastic_rounding = false;  // of bf16 moments, and of bf16 parameters without a master
  std::uint64_t rounding_seed = 0;
  LossScaleOptions loss_scale;  // for fp16 parameters
  EmaOptions ema;

  // Parameters (by name prefix) that may get several gradients within one backward: used in more
  // than one checkpointed segment, or inside and outside one. Their windows are reduced at the end
  // of backward. Tied parameters always are.
  std::vector<std::string> reused;

  // Flight recorder; may be empty. Called on the main thread only.
  std::function<void(const CollectiveEvent&)> observer;
};

// What all ranks agreed on, bit for bit the same on each.
struct StepVerdict {
  bool finite = false;
  int culprit_rank = -1;      // when not finite: the first rank with a bad value ...
  std::string culprit_param;  // ... and its first bad parameter in registration order
  double grad_norm = 0;       // of the summed gradient, before clipping, without the loss scale
  double loss_scale = 1;      // this step's; 1 unless parameters are fp16
  // The step is not finite and a lower loss scale may cure that: skip it, nothing is wrong.
  bool scale_too_high = false;
  std::vector<double> group_norms;   // per group of the registry
  std::vector<std::int64_t> counts;  // consensus()'s `counts`, summed over ranks
  std::vector<double> values;        // consensus()'s, as the rank that owns each slot wrote them
  bool stop = false;                 // some rank was asked to stop
};

// One step of one group's trained parameters, over all ranks.
struct UpdateNorms {
  double weight = 0;  // of the masters, after the step
  double update = 0;  // of what the step changed in them
};

}  // namespace muster::sharding
