// One rank's optimizer state in one HDF5 file (docs/sharding.md specifies it), and reading any
// world size's files into any other layout by (parameter name, element range).
#pragma once

#include <ATen/core/Tensor.h>

#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "sharding/layout/flat_space.h"
#include "sharding/state/loss_scaler.h"

namespace muster::sharding {

// They lie on the host, fp32, in window order; gaps between parameters are zero.
struct ShardTensors {
  at::Tensor master, exp_avg, exp_avg_sq;  // [shard elements]
  at::Tensor ema = {};                     // likewise; undefined where no running mean is kept
};

struct ShardFile {
  FlatSpace space;
  ShardLayout layout;
  int rank = 0;
  std::int64_t steps_taken = 0;
  std::vector<std::int64_t> param_steps;  // in registration order
  LossScaler::State loss_scale;
};

// The file is whole or absent: it is written beside `file`, fsynced and renamed. Throws IoError.
void write_shard(const ShardFile& header, const ShardTensors& tensors,
                 const std::filesystem::path& file);

struct LoadedShard {
  std::int64_t steps_taken = 0;
  std::vector<std::int64_t> param_steps;  // of the target's parameters; 0 where absent
  std::vector<std::string> absent;        // parameters the files do not know
  bool has_ema = false;
  LossScaler::State loss_scale;
};

// Fills `tensors`, which belong to `rank` of (space, layout); files without a running mean leave
// tensors.ema with the masters. `names[i]` are all names parameter i
// goes by. Elements of absent parameters stay as they are. Throws CheckpointError, the same on
// every rank unless a file is damaged.
LoadedShard read_shards(const std::vector<std::filesystem::path>& files, const FlatSpace& space,
                        const ShardLayout& layout, int rank,
                        const std::vector<std::vector<std::string>>& names, ShardTensors& tensors);

// The names of the parameters whose state the file, one of a set, holds a part of. Throws
// CheckpointError.
std::vector<std::string> parameters_in(const std::filesystem::path& file);

// The masters in a whole set of files, one parameter at a time.
class SavedMasters {
 public:
  // Throws CheckpointError when the files are no whole set.
  explicit SavedMasters(const std::vector<std::filesystem::path>& files);
  ~SavedMasters();

  bool contains(const std::string& name) const;
  // On the host, in its shape: the parameter as it was after the step (parameter_in(), below).
  at::Tensor read(const std::string& name, at::ScalarType dtype) const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

// All of a parameter in one rank's shard, in its dtype and shape, with the bits that a checkpoint's
// weights have. Where a mean is kept it is that, rounded to nearest; else the parameter itself
// after every step: their masters rounded to nearest, of bf16 with ties away from zero.
// REQUIRES that the rank is its sole owner.
at::Tensor parameter_in(const ShardTensors& tensors, const Slot& slot, std::int64_t shard_begin,
                        at::ScalarType dtype);

// One rank's state at a step, on the host: what a checkpoint writes while training goes on.
struct ShardSnapshot {
  ShardFile header;
  ShardTensors tensors;
};

}  // namespace muster::sharding
