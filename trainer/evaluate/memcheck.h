// Does training hold on to memory? Runs steps and fits three curves, each of which names another
// kind of leak.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "sharding/engine.h"
#include "sharding/tensor_meter.h"
#include "trainer/evaluate/memory_slope.h"

namespace muster::trainer {

// Tensors of one size that a phase makes and something keeps.
struct Holder {
  Phase phase = Phase::kStart;
  std::int64_t block_bytes = 0;
  double blocks_per_step = 0;
};

struct MemoryCurve {
  std::vector<std::int64_t> samples;  // one per step, after it
  MemorySlope slope;
};

struct MemoryReport {
  std::int64_t steps = 0;
  // The steps' own tensors; the loader's micro-batches in waiting vary and are left out. On a GPU
  // these are all that lie there, of which `growing` knows nothing.
  MemoryCurve tensors;
  MemoryCurve heap;              // what malloc handed out for anything else
  MemoryCurve resident;          // the process, as the system counts it
  std::vector<Holder> growing;   // the largest first
  std::int64_t tensor_peak = 0;  // largest sum of live tensors within a step
  std::int64_t resident_peak = 0;
  bool flat() const { return tensors.slope.flat && heap.slope.flat && resident.slope.flat; }
  // Not flat, and not because caches still fill.
  bool leaks() const;
  std::string culprit() const;  // what holds the bytes, in a sentence; "" when flat
};

// Calls `train_step`, which trains `engine`'s parameters, `steps` times; the first third warms up.
// `meter` must be older than the model. `after_step` may be empty; what it keeps counts. Throws
// NumericError when the engine holds something else than planned after a step (law 7).
MemoryReport check_memory(const sharding::ZeroEngine& engine,
                          const std::function<void()>& train_step, sharding::TensorMeter& meter,
                          std::int64_t steps,
                          const std::function<void(std::int64_t step)>& after_step);

}  // namespace muster::trainer
