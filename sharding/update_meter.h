// How far a step moves the weights of each group, beside how large they are.
#pragma once

#include <ATen/core/Tensor.h>

#include <vector>

#include "sharding/engine_core.h"

namespace muster::sharding {

// Lives for one step. Every rank adds what it owns; the sums are exact, so they do not depend on
// how many ranks there are.
class UpdateMeter {
 public:
  // `device`: where the optimizer's kernels run.
  UpdateMeter(EngineCore& core, at::Device device);

  // i64 [2, ExactSum::kLimbs]: where an update of this group's elements adds (AdamWRun::squares).
  at::Tensor sums_of(int group) const;
  // Adds elements that the step leaves alone.
  void add_untouched(int group, Kernels& kernels, const AdamWRun& run);

  // [C] REQUIRES: the updates are done. One entry per group of the registry.
  std::vector<UpdateNorms> agree();

 private:
  EngineCore& core_;
  at::Tensor sums_;  // i64 [groups, 2, ExactSum::kLimbs]
};

}  // namespace muster::sharding
