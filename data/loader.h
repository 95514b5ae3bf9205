// Worker threads that decode and encode ahead of the training loop. Order and content never depend
// on the number of threads.
#pragma once

#include <cstdint>
#include <limits>
#include <memory>
#include <optional>
#include <vector>

#include "base/tensors/micro_batch.h"
#include "data/pack/cursor.h"
#include "data/sampler.h"
#include "data/training_samples.h"

namespace muster::data {

struct StepBatches {
  Cursor cursor;                          // of this step
  Denominators denominators;              // of the whole step, over all ranks
  std::vector<MicroBatch> micro_batches;  // this rank's, in order; an empty one has no samples
  std::vector<std::int64_t> indices;      // per micro-batch: its slot 0..G-1 in the step
  bool last_in_epoch = false;
  std::int64_t steps_in_epoch = 0;
  std::int64_t cost = 0;  // of the whole step, over all ranks, as the sampler counts it
  FillReport fill;        // of this step
  // Of the whole epoch, when this step is the first of it that this loader gives.
  std::optional<FillReport> epoch_fill;
};

// One rank's part of the world's micro-batches, and how far ahead they are made.
struct LoaderOptions {
  std::int64_t micro_batches_per_step = 0;  // G of all ranks, as the sampler has it
  int rank = 0, world_size = 1;
  std::int64_t threads = 1;  // workers, at least one
  // No further micro-batch of this rank is begun while finished and begun ones take so much: at
  // least 1, which lets one be ahead.
  std::int64_t prefetch_bytes = 1;
  Cursor start;                       // the first step
  std::int64_t epoch_first_step = 0;  // number of step 0 of start's epoch in the whole run
  // Of the run: it and later ones are not made ahead, but when next_step() asks for them.
  std::int64_t end_step = std::numeric_limits<std::int64_t>::max();
  std::int64_t end_epoch = std::numeric_limits<std::int64_t>::max();  // the same in epochs
};

class Loader {
 public:
  // Starts the workers. References must outlive it. Throws ConfigError when the world does not
  // divide G, DataError when the epoch has no such step as `start`.
  Loader(const TrainingSamples& samples, const Sampler& sampler, const LoaderOptions& options);
  ~Loader();

  // Blocks for this rank's share of the next step; rolls over epochs, whose plans are made while
  // the epoch before runs. A worker's DataError is thrown here.
  StepBatches next_step();
  double seconds_waited()
      const;  // total time next_step() was blocked: "the loader is the bottleneck"

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace muster::data
