// ZeroEngine: ZeRO-2 as the training loop sees it. Gradients are reduced into the owner's fp32
// shard during backward and the full gradient is freed in the hook; optimizer state and the fp32
// master live only in shards; one integer consensus per step. Same bits for any bucket size,
// overlap and world size (law 9). Knows tensors and ranks, nothing about models.
//
// Threading: every member is called by the rank's main thread, but for await(), which other threads
// may call one at a time while that one waits for them. Calls marked [C] must be reached by
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
#include "sharding/engine_options.h"
#include "sharding/layout/param_registry.h"
#include "sharding/plan/ledger.h"

namespace muster::sharding {

struct ShardSnapshot;  // state/shard_store.h

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

  // [C] The same step, bit for bit, and how far it moved the weights: one entry per group, the same
  // on every rank. One more collective, behind the gathers.
  std::vector<UpdateNorms> measured_step(std::span<const double> lr, const StepVerdict& verdict);

  // Call it instead of step: it forgets the accumulated gradients.
  void skip_step();

  // [C] The parameters become the running mean, for evaluation and for the weights of a checkpoint,
  // and themselves again. REQUIRES options.ema, and no backward and no step between the two. A rank
  // calls hide_ema() when it reads parameters no more; all wait for that.
  void show_ema();
  void hide_ema();

  // Sets gradients to none, frees staging. Afterwards bytes() equals planned_bytes(). Returns the
  // bytes released. With `trim_host` the C library gives free pages back, too: tens of
  // milliseconds, meant for epoch ends.
  std::int64_t empty_partition_cache(bool trim_host = false);

  // Blocks until the parameters whose names start with `prefix` hold the newest values. The model
  // calls it at its blocks.
  void await(std::string_view prefix);
  void await_all();

  // [C] Returns all of one parameter's state, or its gradient between consensus() and step(), on
  // the host in fp32, the same on every rank. It is slow and meant for debugging. Throws
  // ConfigError when no trainable parameter (or alias) has that name.
  at::Tensor full(std::string_view name, StateKind kind);
  // [C] Sets it; every rank passes the same values, of the parameter's shape.
  void set_full(std::string_view name, StateKind kind, const at::Tensor& values);

  EngineBytes bytes() const;
  EngineBytes planned_bytes() const;
  // What this rank sent to ranks of other nodes to reduce gradients, with ReduceKind::kTree.
  std::int64_t bytes_between_nodes() const;
  // The most that was held for a while only, in the step that the newest empty_partition_cache()
  // ended.
  TransientBytes step_peak() const;

  const ParamRegistry& registry() const;
  const Collective& collective() const;
  std::int64_t steps_taken() const;  // optimizer steps applied, the t of Adam's bias correction
  std::string layout_hash() const;

  // Checkpointing. This rank's shard (master, moments, step) in host memory, so that another thread
  // can write the file.
  std::shared_ptr<const ShardSnapshot> snapshot() const;
  // The same in two parts: the numbers now, and the tensors by fill_snapshot(), which another
  // thread may run while this one computes. REQUIRES that it returns before the next step(),
  // load() or set_full() of any rank.
  std::shared_ptr<ShardSnapshot> begin_snapshot() const;
  void fill_snapshot(ShardSnapshot& snapshot) const;
  // Instead of fill_snapshot(), where nothing follows: what can be written as it lies is the
  // engine's own memory. REQUIRES that the snapshot is gone before the next step(), load(),
  // set_full() or show_ema() of any rank, and before the engine.
  void lend_snapshot(ShardSnapshot& snapshot) const;
  // Writes one HDF5 file; throws IoError.
  static void write(const ShardSnapshot& snapshot, const std::filesystem::path& file);
  // [C] Reads any set of files written at any world size, bucket size or group layout that covers
  // this engine's parameters; parameters absent there (newly thawed) start with zero moments.
  // Throws CheckpointError.
  void load(const std::vector<std::filesystem::path>& files);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace muster::sharding
