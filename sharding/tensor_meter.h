// Counts CPU tensors while it lives: which bytes were made in which phase of a step by the threads
// that run steps. It serves checks of memory, not training: every allocation takes a lock. There is
// one at a time; tensors may outlive it.
#pragma once

#include <cstdint>
#include <map>
#include <utility>

#include "base/flight_recorder.h"

namespace muster::sharding {

class TensorMeter {
 public:
  TensorMeter();
  ~TensorMeter();
  TensorMeter(const TensorMeter&) = delete;
  TensorMeter& operator=(const TensorMeter&) = delete;

  // Says what this thread does from now on. Tensors of threads that never say so count as a
  // loader's.
  static void enter(Phase phase);

  struct Bytes {
    std::int64_t stepping = 0;  // made by threads that entered a phase
    std::int64_t loading = 0;   // made by others: micro-batches in waiting, whose sizes vary
    std::int64_t total() const { return stepping + loading; }
  };
  Bytes live() const;         // of all that was made under a meter
  std::int64_t peak() const;  // of live().total(), since the last restart
  void restart_peak();

  // Live blocks of stepping threads: (phase, bytes of one) -> how many.
  using Blocks = std::map<std::pair<Phase, std::int64_t>, std::int64_t>;
  Blocks blocks() const;
};

}  // namespace muster::sharding
