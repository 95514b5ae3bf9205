// What one rank keeps of the optimizer: moments, masters and running means of its slices, in the
// storage the options choose. On disk all of it is fp32 (shard_store.h), so a run may resume with
// another choice.
//
// The master, and the bytes an element takes with its parameter:
// - of fp32 parameters: the parameter itself, 4;
// - of bf16 and fp16, optimizer.master fp32: fp32 beside it, 6;
// - of bf16, split: the parameter and its low half, 4, with the same bits as fp32;
// - of bf16, none: the parameter itself, 2, for stochastic rounding.
#pragma once

#include <ATen/core/Tensor.h>

#include "sharding/engine_core.h"
#include "sharding/state/shard_store.h"

namespace muster::sharding {

class HostOffload;

class OptimizerState {
 public:
  // flat: [padded elements], the parameters' memory. Masters start as the parameters, moments at 0.
  // `core` and `host` must outlive this; with `host`, all of it lies there.
  OptimizerState(const EngineCore& core, at::Tensor flat, const HostOffload* host);

  // The tensors of one segment; the caller adds gradient and factors.
  AdamWRun run(const Segment& segment) const;

  // With kLend, what lies on the host in fp32, in a shard of its own, is this state's memory.
  enum class Export { kCopy, kLend };
  ShardTensors export_shard(Export how) const;
  // What a load fills, for import_shard(): masters as they are, means of the weights like them,
  // moments at 0. Moments of fp32 on the host are this state's own, so that a load needs no second
  // copy: after a load that failed they are of no use until another succeeds.
  ShardTensors begin_import();
  // Also writes this rank's slices of the parameters.
  void import_shard(const ShardTensors& tensors);

  // One segment's values on the host, fp32 [count]. StateKind::kGradient is not kept here.
  at::Tensor read(const Segment& segment, StateKind kind) const;
  void write(const Segment& segment, StateKind kind, const at::Tensor& values);

  // Puts the running mean where this rank's slices of the parameters are, and those aside; and
  // back. REQUIRES the options keep a mean, and nothing is updated between the two.
  void show_ema();
  void hide_ema();

  std::int64_t master_bytes() const;
  std::int64_t ema_bytes() const;
  std::int64_t moment_bytes() const;

 private:
  // Elements that this rank owns, without a gap: where they lie in its shard and in the flat space.
  struct Run {
    std::int64_t shard_begin = 0, flat_begin = 0, count = 0;
  };
  Run own_slice(int window) const;
  const at::Tensor& shard_of(StateKind kind) const;  // of one that lies in a shard of its own
  at::Tensor zeros(at::ScalarType type) const;       // [shard elements]
  at::Tensor parameters(const Run& run) const;       // as the optimizer has them
  at::Tensor read_master(const Run& run) const;      // [count] f32, on the host
  at::Tensor export_master() const;                  // [shard elements] f32, on the host
  void write_master(const Run& run, const at::Tensor& values);

  const EngineCore& core_;
  const HostOffload* host_;
  at::Tensor flat_;
  at::Tensor master_;                // [shard elements] f32, or undefined
  at::Tensor remainder_;             // [shard elements] i16, or undefined
  at::Tensor exp_avg_, exp_avg_sq_;  // [shard elements] f32 or bf16
  at::Tensor ema_;                   // [shard elements] f32, or undefined
  at::Tensor aside_;  // [shard elements], the parameters while the mean is in their place
};

std::int64_t held_bytes(const at::Tensor& tensor);  // 0 when undefined

}  // namespace muster::sharding
