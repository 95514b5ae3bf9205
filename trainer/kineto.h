// What LibTorch's own profiler (Kineto) sees, in the clock of our trace: the kernels, copies and
// sets of a GPU, of which its driver (CUPTI) tells.
#pragma once

#include <c10/core/Device.h>

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "base/trace.h"

namespace muster::trainer {

struct KinetoSpan {
  std::string name;
  c10::Device device;
  std::int64_t stream = 0;  // of a GPU
  trace::Clock::time_point begin = {}, end = {};
};

// One moment on the trace's clock and on the wall's, which Kineto's times are on.
struct ClockPair {
  trace::Clock::time_point steady;
  std::int64_t unix_ns = 0;

  static ClockPair now();
};

// The moment of a wall clock's time, on the line through two pairs: Kineto lays its own line, from
// the processor's counter to the wall clock, through its start and its end likewise, so that a wall
// clock that is set or slewed meanwhile does no harm.
trace::Clock::time_point steady_time(std::int64_t unix_ns, const ClockPair& start,
                                     const ClockPair& end);

// Watches from its construction on. There can be one in a process; the thread that makes it ends
// it.
class Kineto {
 public:
  // Operations of the host are in our trace anyway; a test without a GPU compares the two.
  enum class Watched { kGpu, kHost };

  explicit Kineto(Watched watched);
  ~Kineto();
  Kineto(const Kineto&) = delete;
  Kineto& operator=(const Kineto&) = delete;

  // Waits until the GPU is idle. At most once.
  std::vector<KinetoSpan> stop();

 private:
  bool watching_ = true;
  ClockPair start_;
};

// Adds what GPUs did to the trace, as category `kernel`, one row for each GPU and stream, and
// returns how many spans that were. Those of the host are left out.
std::size_t add_kernels(const std::vector<KinetoSpan>& spans);

}  // namespace muster::trainer
