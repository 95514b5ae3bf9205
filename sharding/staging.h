// Send buffers of one window each, taken by the hooks and given back when the reduction is done. At
// most `limit` exist while one of them is on its way back; only a backward that fills windows far
// out of order makes more, one per window.
#pragma once

#include <ATen/core/Tensor.h>

#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <vector>

namespace muster::sharding {

class StagingRing {
 public:
  StagingRing(std::function<at::Tensor(int index)> allocate, int limit)
      : allocate_(std::move(allocate)), limit_(limit) {}

  // A buffer returns to the ring when its last owner lets go of it. The ring must outlive it.
  using Buffer = std::shared_ptr<const at::Tensor>;
  Buffer take();     // its contents are undefined
  void hand_over();  // says that a taken buffer is with the queue: take() may wait for it

  std::int64_t bytes() const;
  void release();  // REQUIRES: no buffer is taken

 private:
  void give_back(at::Tensor tensor);

  const std::function<at::Tensor(int index)> allocate_;  // index: how many there were before it
  const int limit_;
  mutable std::mutex mutex_;
  std::condition_variable returned_;
  std::vector<at::Tensor> free_;
  int allocated_ = 0, handed_over_ = 0;
  std::int64_t bytes_ = 0;
};

}  // namespace muster::sharding
