// `reduce: tree` (sharding/kernels/reduce_tree.h says in which order): exchanges a window in phases
// and keeps the partial sums of this rank's slices. The first partial sum is the gradient shard.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

#include "sharding/engine_core.h"
#include "sharding/kernels/reduce_tree.h"

namespace muster::sharding {

class TreeReducer {
 public:
  // `core` and `shard`, the gradient shard, must outlive this. With `shared`, the first phase can
  // read what near ranks send where it lies.
  TreeReducer(EngineCore& core, const at::Tensor& shard, bool shared);

  // Buffers of the exchanges, made on the main thread so that bytes can be counted while the queue
  // works; nothing is touched when they are there.
  void make_buffers();
  void release_buffers() { phases_.clear(); }
  std::int64_t buffer_bytes() const;
  std::int64_t partial_bytes() const;

  // The rest is for the queue's thread, or needs a drained queue.
  void add(int window, const at::Tensor& wire);  // [C] one micro-batch of every rank
  void finish(int window);  // the window's slice of the shard is the sum of all that were added
  void reset();             // forgets the step

  // Sent by this rank to ranks of other nodes.
  std::int64_t bytes_between_nodes() const { return between_; }

 private:
  // What one exchange needs: this rank's chunks in the order of the circle's ranks, what came, and
  // the sums that go on.
  struct Phase {
    at::Tensor packed, received, sums;
  };
  bool whole() const { return radices_.size() == 1; }  // all ranks exchange at once
  at::Tensor counted(std::int64_t elements, at::ScalarType type) const;
  void count(const Circle& circle, std::size_t bytes);  // what goes to other nodes
  void exchange_in_phases(int window, at::Tensor wire);
  at::Tensor sums_in_place(const at::Tensor& mine, std::int64_t slice);
  void push(int window, Rows rows, at::ScalarType type);
  void merge(int window, int from);
  at::Tensor partial(int window, int index) const;  // [slice] f32

  EngineCore& core_;
  const at::Tensor& shard_;
  const std::vector<int> radices_;
  const int rows_;                    // that the last phase brings
  const bool in_place_;               // the first phase reads
  std::vector<at::Tensor> partials_;  // [shard elements] f32 each, after the shard itself
  std::vector<std::int64_t> leaves_;  // per window: rows added
  std::vector<Phase> phases_;
  std::int64_t between_ = 0;
};

}  // namespace muster::sharding
