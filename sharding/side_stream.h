// A stream of its own for work that goes on beside what a thread queues on a GPU.
#pragma once

#include <c10/core/Stream.h>

#include <functional>
#include <optional>

namespace muster::sharding {

class SideStream {
 public:
  SideStream() = default;  // there is none: jobs run as they are
  // Takes one of the device's streams; none on a CPU.
  explicit SideStream(c10::Device device);

  // The returned job waits for what the caller has queued so far, runs beside what the caller
  // queues next, and is done on the device when it returns. It may be called on any thread.
  std::function<void()> behind_caller(std::function<void()> job) const;

 private:
  std::optional<c10::Stream> stream_;
};

}  // namespace muster::sharding
