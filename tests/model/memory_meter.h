// Counts the bytes that tensors of this thread (and of the backward it runs) hold on the CPU.
#pragma once

#include <c10/core/Allocator.h>
#include <c10/util/ThreadLocalDebugInfo.h>

#include <algorithm>
#include <cstdint>
#include <memory>

namespace muster::test {

class MemoryMeter {
 public:
  MemoryMeter()
      : counter_(std::make_shared<Counter>()),
        guard_(c10::DebugInfoKind::PROFILER_STATE, counter_) {}
  std::int64_t held() const { return counter_->held; }  // since construction
  std::int64_t peak() const { return counter_->peak; }
  void restart_peak() { counter_->peak = counter_->held; }

 private:
  struct Counter : c10::MemoryReportingInfoBase {
    void reportMemoryUsage(void*, std::int64_t size, std::size_t, std::size_t,
                           c10::Device) override {
      held += size;
      peak = std::max(peak, held);
    }
    bool memoryProfilingEnabled() const override { return true; }
    std::int64_t held = 0, peak = 0;
  };
  std::shared_ptr<Counter> counter_;
  c10::DebugInfoGuard guard_;
};

}  // namespace muster::test
