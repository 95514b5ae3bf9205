// Worker threads that decode and encode ahead of the training loop. Order and content never depend
// on the number of threads.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "base/tensors/micro_batch.h"
#include "data/encoder.h"
#include "data/pack/pack.h"
#include "data/sampler.h"

namespace muster::data {

struct StepBatches {
  Cursor cursor;                          // of this step
  Denominators denominators;              // of the whole step, over all ranks
  std::vector<MicroBatch> micro_batches;  // this rank's, in order; an empty one has no samples
  std::vector<std::int64_t> indices;      // per micro-batch: its slot 0..G-1 in the step
  bool last_in_epoch = false;
};

class Loader {
 public:
  // Starts `threads` workers (>= 1) that stay at most `prefetch` micro-batches ahead. References
  // must outlive it.
  Loader(const Pack& pack, const SampleEncoder& encoder, const Sampler& sampler,
         SamplerOptions options, int rank, int world_size, int threads, int prefetch, Cursor start);
  ~Loader();

  // Blocks for this rank's share of the next step; rolls over epochs. A worker's DataError is
  // thrown here.
  StepBatches next_step();
  double seconds_waited()
      const;  // total time next_step() was blocked: "the loader is the bottleneck"

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace muster::data
