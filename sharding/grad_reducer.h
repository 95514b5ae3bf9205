// Gradients, from autograd to the owner's fp32 shard, during backward. A hook on every trainable
// parameter copies its gradient into the staging buffers of the windows it lies in, in wire dtype,
// and drops it. A complete window is handed to the queue when all windows before it were; there it
// goes all-to-all, and the received slices are added in rank order onto the shard: acc + g0 + g1 +
// ..., so k micro-batches on N ranks add up exactly as k*N on one; or in phases, in the order of a
// tree, which is as independent of N (tree_reducer.h). Windows under the accumulation
// budget sum their gradients in fp32 here instead, and go out once a step.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include "sharding/engine_core.h"
#include "sharding/staging.h"
#include "sharding/tree_reducer.h"

namespace muster::sharding {

class GradHooks;

class GradReducer {
 public:
  // `reduced` is told, on the queue's thread or in complete(), when a window's slice is final for
  // this step. `core` must outlive this.
  GradReducer(EngineCore& core, std::function<void(int window)> reduced);
  ~GradReducer();

  // [C] One micro-batch: begin, autograd, finish. finish() hands over every window that is left,
  // with zeros where no gradient came, so the collectives are the same whatever the graph was.
  void begin(bool last);
  void finish();
  void on_gradient(int param);  // called by the hooks
  void complete();              // [C] once a step, after the last finish(): drains the queue

  // The rest needs a drained queue. State of the step, after complete():
  const at::Tensor& shard() const { return shard_; }  // [shard_elements] f32
  const std::vector<std::uint8_t>& used() const {
    return used_;
  }                                                           // params that got a gradient here
  const at::Tensor& nonfinite() const { return nonfinite_; }  // [params] u8: got a bad one here
  void reset();                                               // forgets the step

  std::int64_t staging_bytes() const;
  void release_staging();
  std::int64_t accumulation_bytes() const;
  std::int64_t partial_bytes() const;
  // Sent by this rank to those of other nodes, of `reduce: tree`.
  std::int64_t bytes_between_nodes() const;

 private:
  at::Tensor shared_staging() const;  // [C]
  at::Tensor make_staging(int index) const;
  void make_receive();
  const at::Tensor& target(int window);
  void stage(const at::Tensor& gradient, int param, int window, bool add);
  void refuse_late(int param, int window) const;
  void hand_over_complete();
  void hand_over(int window);
  StagingRing::Buffer staged_local(int window);
  void post(int window, StagingRing::Buffer staged);
  at::Tensor part_of(const at::Tensor& buffer, int window, const Piece& piece) const;
  void zero_uncovered(int window, const at::Tensor& buffer,
                      const std::vector<std::uint8_t>& covered) const;
  at::Tensor slice_of(int window) const;
  // These run on the queue's thread.
  void reduce(int window, const at::Tensor& wire, bool final);
  void add_slices(int window, const at::Tensor& wire, bool fresh);
  void finish_window(int window);

  struct WindowState {
    std::vector<Piece> pieces;  // in flat order
    // It holds a parameter that may get several gradients, and is reduced at the end of backward.
    bool deferred = false;
    int missing = 0;  // pieces without a gradient in this micro-batch
    StagingRing::Buffer buffer;
    at::Tensor local;  // [window elements] f32 where sums are kept here; held between steps
    // The queue's thread writes these:
    bool fresh = true;   // nothing of this step is in the shard yet; what is there counts as zeros
    bool final = false;  // `reduced` was told
  };

  EngineCore& core_;
  const std::function<void(int window)> reduced_;
  const Circle readers_;     // they read each other's send buffers where those lie
  const at::Tensor shared_;  // these send buffers, if there are several; untouched it is free
  StagingRing staging_;
  std::vector<WindowState> windows_;  // after the ring their buffers return to
  int first_local_;                   // windows from here on accumulate locally
  at::Tensor receive_;  // wire dtype: a window, or a slice of one (native); for the queue's thread
  at::Tensor shard_;
  std::unique_ptr<TreeReducer> tree_;  // or none
  at::Tensor nonfinite_;
  std::vector<std::uint8_t> used_;   // per parameter: got a gradient in this step
  std::vector<std::uint8_t> fired_;  // per parameter: got one in this micro-batch
  int next_ = 0;                     // the window to hand over next
  int end_ = 0;                      // the first window that waits for another backward
  bool active_ = false;              // between begin() and finish()
  bool last_ = false;                // no other backward comes in this step
  std::unique_ptr<GradHooks> hooks_;
};

}  // namespace muster::sharding
