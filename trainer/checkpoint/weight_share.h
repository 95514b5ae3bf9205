// The weights of a checkpoint, written by all ranks: each takes whole tensors, about as many bytes
// as the others, into one file of Hugging Face's sharded form.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <filesystem>
#include <string>
#include <utility>
#include <vector>

#include "sharding/state/shard_store.h"

namespace muster::trainer {

// A copy on the host, in the tensor's dtype.
at::Tensor host_copy(const at::Tensor& tensor);

class WeightShare {
 public:
  struct Weight {
    std::string stored_name;  // in the file
    std::string parameter;    // as the engine knows it
    at::Tensor tensor;
  };

  // The share of the snapshot's rank; `weights` are the same on every rank. A rank that owns all of
  // a tensor's master takes it, and needs no copy: the snapshot's master says its bits.
  WeightShare(const std::vector<Weight>& weights, const sharding::ShardFile& shard);

  // Copies what the snapshot does not hold. Until then the training's own tensors are referred to.
  void copy();
  // Appends the names of the files that it wrote: the share's, if it has any, and on rank 0 of
  // several that write the index.
  void write(const std::filesystem::path& folder, const sharding::ShardTensors& snapshot,
             std::vector<std::string>& names) const;

 private:
  struct InSnapshot {
    std::string stored_name;
    sharding::Slot slot;
    std::int64_t shard_begin = 0;
    at::ScalarType dtype = at::kFloat;
  };
  void take(const Weight& weight, const sharding::Slot* slot, std::int64_t shard_begin);

  std::string file_;  // "" when this rank has no share
  std::vector<std::pair<std::string, at::Tensor>> copied_;
  std::vector<InSnapshot> in_snapshot_;
  std::vector<std::pair<std::string, std::string>> index_;  // tensor and file; of rank 0
  std::int64_t total_bytes_ = 0;                            // of all ranks
};

}  // namespace muster::trainer
