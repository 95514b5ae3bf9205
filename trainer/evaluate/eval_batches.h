// The batches that an evaluation puts through the model: samples of like cost together, as many as
// fit the budget of a micro-batch in training.
#pragma once

#include <cstdint>
#include <vector>

#include "data/encoder.h"
#include "data/fill.h"
#include "data/sample_set.h"
#include "data/sample_size.h"
#include "data/token_cost.h"
#include "sharding/collectives/collective.h"
#include "trainer/evaluate/eval_images.h"

namespace muster::trainer {

struct EvalOptions {
  std::int64_t max_samples = 0;  // each pack's first so many; 0: all
  data::FillLimits limits = {};  // of a batch; a sample that exceeds them alone is one by itself
  data::TokenCost cost = {};     // what the sampler balances micro-batches by
};

using SampleBatches = std::vector<std::vector<std::int64_t>>;  // numbers of the set's samples

// What an evaluation finds out about a set: worth keeping where it is evaluated again, since every
// sample is measured.
struct EvalBatches {
  EvalImages images;    // that have annotated boxes
  SampleBatches boxes;  // all samples of `images`
  SampleBatches all;    // all samples that are evaluated, those without a picture, too
};

// A function of the set and the options alone: the same for every number of ranks and threads. The
// costliest samples come first, those of one cost in their own order, so that a batch pads little
// and the last ones, which threads and ranks wait for, are short. Samples over the vision-token
// budget are left out. `threads` measure.
EvalBatches eval_batches(const data::SampleSet& set, const data::SampleEncoder& encoder,
                         const EvalOptions& options, int threads);

// Says of samples, one after another, which of them begin a batch: those that do not fit the limits
// together with what the batch before has.
class BatchRoom {
 public:
  explicit BatchRoom(const data::FillLimits& limits) : limits_(limits) {}
  bool begins(const data::SampleSize& size);

 private:
  data::FillLimits limits_;
  data::MicroBatchPlan batch_;
};

// One rank's part of a list: every size()-th entry from the rank-th on.
class RankShare {
 public:
  RankShare(std::size_t entries, const sharding::Collective& collective);
  std::int64_t count() const { return count_; }
  std::size_t operator[](std::int64_t i) const {
    return first_ + static_cast<std::size_t>(i) * stride_;
  }

 private:
  std::size_t first_, stride_;
  std::int64_t count_ = 0;
};

}  // namespace muster::trainer
