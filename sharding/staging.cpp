#include "sharding/staging.h"

namespace muster::sharding {

StagingRing::Buffer StagingRing::take() {
  std::unique_lock lock(mutex_);
  returned_.wait(lock, [&] { return !free_.empty() || allocated_ < limit_ || handed_over_ == 0; });
  at::Tensor tensor;
  if (free_.empty()) {
    tensor = allocate_(allocated_++);
    bytes_ += static_cast<std::int64_t>(tensor.nbytes());
  } else {
    tensor = std::move(free_.back());
    free_.pop_back();
  }
  return {new at::Tensor(std::move(tensor)), [this](const at::Tensor* owned) {
            give_back(*owned);
            delete owned;
          }};
}

void StagingRing::hand_over() {
  const std::lock_guard lock(mutex_);
  ++handed_over_;
}

// Buffers come back through the queue. One that an exception in a hook dropped was never handed
// over.
void StagingRing::give_back(at::Tensor tensor) {
  {
    const std::lock_guard lock(mutex_);
    free_.push_back(std::move(tensor));
    if (handed_over_ > 0) --handed_over_;
  }
  returned_.notify_all();
}

std::int64_t StagingRing::bytes() const {
  const std::lock_guard lock(mutex_);
  return bytes_;
}

void StagingRing::release() {
  const std::lock_guard lock(mutex_);
  TORCH_CHECK(static_cast<int>(free_.size()) == allocated_,
              "staging is released while a window is open");
  free_.clear();
  allocated_ = 0;
  bytes_ = 0;
}

}  // namespace muster::sharding
