// ZeroEngine: ZeRO-2 as the training loop sees it. Gradients are reduced into the owner's fp32
// shard during backward and the full gradient is freed in the hook; optimizer state and the fp32
// master live only in shards; one integer consensus per step. Same bits for any bucket size,
// overlap and world size (law 9). Knows tensors and ranks, nothing about models.
//
// Threading: every member is called by the rank's main thread. Calls marked [C] must be reached by
// every rank in the same order; the number of collectives they issue depends on the layout alone,
// never on data.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "sharding/collectives/collective.h"
#include "sharding/layout/param_registry.h"
#include "sharding/plan/ledger.h"
#include "sharding/state/loss_scaler.h"

namespace muster::sharding {

enum class ReduceKind {
  kOrdered,  // all-to-all, then slices added in rank order: same bits for any world size
  kNative    // the backend's reduce-scatter
};

// Where the fp32 value behind a 16-bit parameter lives; see optimizer_state.h. fp32 parameters are
// their own master.
enum class MasterKind { kFloat32, kSplit, kNone };

// What full() reads: kMaster is the parameter as the optimizer holds it; kGradient the reduced sum
// of this step.
enum class StateKind { kMaster, kGradient, kExpAvg, kExpAvgSq };

struct EngineOptions {
  std::int64_t bucket_bytes = 0;  // of one window, in the wire dtype; > 0
  bool overlap = true;  // reduce on a worker thread during backward, gather during the next forward
  WireDtype wire_dtype = WireDtype::kFloat32;
  ReduceKind reduce = ReduceKind::kOrdered;
  double beta1 = 0, beta2 = 0, eps = 0;  // betas of groups that have none of their own
  double clip_norm = 0;                  // 0: none
  // The last windows, as far as this reaches, are summed in fp32 on each rank and reduced once a
  // step, in consensus().
  std::int64_t accumulation_budget_bytes = 0;

  MasterKind master = MasterKind::kFloat32;
  bool bf16_moments = false;
  bool stochastic_rounding = false;  // of bf16 moments, and of bf16 parameters without a master
  std::uint64_t rounding_seed = 0;
  LossScaleOptions loss_scale;  // for fp16 parameters

  // Parameters (by name prefix) that may get several gradients within one backward: used in more
  // than one checkpointed segment, or inside and outside one. Their windows are reduced at the end
  // of backward. Tied parameters always are.
  std::vector<std::string> reused;

  // Flight recorder; may be empty. Called on the main thread only: `phase` is reduce, gather or
  // consensus when a bucket is handed over (`collective`: the number it will have), and the same
  // with " done" once the main thread knows.
  std::function<void(int bucket, std::int64_t collective, std::string_view phase)> observer;
};

// What all ranks agreed on, bit for bit the same on each.
struct StepVerdict {
  bool finite = false;
  int culprit_rank = -1;      // when not finite: the first rank with a bad value ...
  std::string culprit_param;  // ... and its first bad parameter in registration order
  double grad_norm = 0;       // of the summed gradient, before clipping, without the loss scale
  double loss_scale = 1;      // this step's; 1 unless parameters are fp16
  bool scale_too_high =
      false;  // not finite, and a lower loss scale may cure it: skip, nothing is wrong
  std::vector<double> group_norms;   // per group of the registry
  std::vector<std::int64_t> counts;  // consensus()'s `counts`, summed over ranks
  std::vector<double>
      values;         // consensus()'s `values`, as the rank that owned each slot wrote them
  bool stop = false;  // some rank was asked to stop
};

// Bytes this rank holds, by category, as promised by MemoryPlan and kept by law 7.
struct EngineBytes {
  std::int64_t parameters = 0, gradient_shard = 0, master = 0, moments = 0, staging = 0,
               accumulation = 0;
  std::int64_t total() const {
    return parameters + gradient_shard + master + moments + staging + accumulation;
  }
  bool operator==(const EngineBytes&) const = default;
};

class ZeroEngine {
 public:
  // [C] Compares the layout hash across ranks first: CollectiveError naming the first difference.
  // Parameters are moved into one flat buffer (their tensors keep their identity and alias it) and
  // broadcast from rank 0.
  ZeroEngine(ParamRegistry registry, std::shared_ptr<Collective> collective, EngineOptions options);
  ~ZeroEngine();

  // [C] Runs autograd from `loss` (a scalar), times the loss scale, and reduces every window. An
  // undefined loss, or one without a graph, still issues the same collectives (with zeros). `last`,
  // the same on every rank: no other backward comes before the step. It changes no bit; said in
  // time, windows kept local are reduced and squares are summed while this backward runs, and not
  // after it.
  void backward(const at::Tensor& loss, bool last = false);

  // [C] Once per step, after the last backward: reduces the windows kept local, then agrees.
  // `counts` are summed; `values` has one owner per slot (all other ranks pass 0.0 there) and keeps
  // its exact bits.
  StepVerdict consensus(std::span<const std::int64_t> counts, std::span<const double> values,
                        bool stop_requested);

  // [C] Fused unscale, clip, AdamW (decoupled decay; Loshchilov and Hutter 2019), master and
  // parameter out, then the gather. lr has one entry per group of the registry. Parameters that got
  // no gradient on any rank are left alone.
  void step(std::span<const double> lr, const StepVerdict& verdict);

  // Instead of step: forgets the accumulated gradients.
  void skip_step();

  // Sets gradients to none, frees staging. Afterwards bytes() equals planned_bytes(). Returns the
  // bytes released. With `trim_host` the C library gives free pages back, too: tens of
  // milliseconds, meant for epoch ends.
  std::int64_t empty_partition_cache(bool trim_host = false);

  // Blocks until the parameters whose names start with `prefix` hold the newest values. The model
  // calls it at its blocks.
  void await(std::string_view prefix);
  void await_all();

  // [C] For debugging: all of one parameter's state, or its gradient between consensus() and
  // step(), on the host in fp32, the same on every rank. Slow. ConfigError when no trainable
  // parameter (or alias) has that name.
  at::Tensor full(std::string_view name, StateKind kind);
  // [C] Sets it; every rank passes the same values, of the parameter's shape.
  void set_full(std::string_view name, StateKind kind, const at::Tensor& values);

  EngineBytes bytes() const;
  EngineBytes planned_bytes() const;
  // The most that was held for a while only, in the step that the newest empty_partition_cache()
  // ended.
  TransientBytes step_peak() const;

  const ParamRegistry& registry() const;
  const Collective& collective() const;
  std::int64_t steps_taken() const;  // optimizer steps applied, the t of Adam's bias correction
  std::string layout_hash() const;

  // Checkpointing. [C] except snapshot(), which copies this rank's shard (master, moments, step) to
  // host memory quickly, so that the file can be written by another thread.
  class Snapshot;
  std::shared_ptr<const Snapshot> snapshot() const;
  static void write(const Snapshot& snapshot,
                    const std::filesystem::path& file);  // one HDF5 file; throws IoError
  // Reads any set of files written at any world size, bucket size or group layout that covers this
  // engine's parameters; parameters absent there (newly thawed) start with zero moments. Throws
  // CheckpointError.
  void load(const std::vector<std::filesystem::path>& files);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace muster::sharding
