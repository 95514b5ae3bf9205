// What a step counts and sums: this rank's part, as the message of the step consensus, and what all
// ranks agreed on.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <span>
#include <utility>
#include <vector>

#include "base/tensors/micro_batch.h"
#include "data/loader.h"
#include "model/head/detection.h"
#include "sharding/collectives/collective.h"
#include "sharding/engine_options.h"
#include "trainer/loss_terms.h"

namespace muster::trainer {

// Call add() for each micro-batch with samples, close() once, send counts() and values(), and read
// the verdict with agreed(). Keeps references to the terms and the collective.
class StepTotals {
 public:
  // Slots of counts(); the ranks' are added.
  enum Count : std::size_t {
    kTokens,
    kImages,
    kLabels,
    kBoxes,
    kCaptionTokens,
    kCheckpointWritten,
    kNumCounts
  };

  StepTotals(const data::StepBatches& step, const LossTerms& terms,
             const sharding::Collective& collective);

  // The micro-batch of this global slot, and its loss terms. Nothing waits for a GPU here.
  void add(const MicroBatch& batch, std::int64_t slot, const std::vector<model::LossTerm>& sums);

  // Waits until a GPU is through with all terms, then completes the message.
  void close(bool checkpoint_written, std::int64_t memory_bytes);
  std::span<const std::int64_t> counts() const { return counts_; }
  // [micro-batches of the step][terms] loss sums, then [ranks] memory; each slot has one owner.
  std::span<const double> values() const { return values_; }

  struct Agreed {
    LossTerms::Report loss;
    std::int64_t tokens = 0, images = 0;  // of all ranks
    std::int64_t memory_bytes = 0;        // the most over ranks
    std::int64_t bytes_sent = 0;          // by this rank since its collective was made
    bool checkpoint_written = false;      // by every rank
  };
  // Fails when the ranks saw other samples than the sampler planned.
  Agreed agreed(const sharding::StepVerdict& verdict) const;

 private:
  const LossTerms& terms_;
  Denominators planned_;
  const sharding::Collective& collective_;
  std::size_t num_loss_slots_;
  std::vector<std::int64_t> counts_;
  std::vector<double> values_;
  std::vector<std::pair<std::size_t, at::Tensor>> sums_;  // first slot; [terms] f64
};

}  // namespace muster::trainer
