// Batches through a model on several threads of this process, their results in order.
#pragma once

#include <c10/core/Device.h>
#include <c10/core/DeviceGuard.h>
#include <c10/core/GradMode.h>

#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <utility>

#include "base/in_order.h"
#include "base/tensors/compute_threads.h"

namespace muster::trainer {

struct PassThreads {
  int model = 1;   // that are in the model at a time
  int beside = 1;  // more, which decode, encode or draw meanwhile
  int all() const { return model + beside; }
};

// Every thread in the model has one compute thread of LibTorch: together they use the cores better
// than one pass on all of them, and what a pass computes depends on its batch alone, never on the
// number of threads. The model's device is the current one of each while it is in there.
class Passes {
 public:
  Passes(const PassThreads& threads, c10::Device device)
      : threads_(threads), device_(device), free_(threads.model) {}

  // work(0..n-1) on all threads, take(i, what it returned) on the caller's (base/in_order.h).
  template <typename Work, typename Take>
  void run(std::int64_t n, Work&& work, Take&& take) {
    const ComputeThreads one(1);  // what the threads begin with; the caller has its own afterwards
    in_order(n, {.threads = threads_.all()}, std::forward<Work>(work), std::forward<Take>(take));
  }

  // What forward() returns, once there is a place in the model. Without gradients. Thread-safe.
  template <typename Forward>
  auto in_model(const Forward& forward) {
    const Place place(*this);
    const ComputeThreads one(1);
    const c10::NoGradGuard no_grad;
    c10::OptionalDeviceGuard device;
    if (device_.is_cuda()) device.reset_device(device_);
    return forward();
  }

 private:
  // A std::counting_semaphore would do, but for g++ before 13, with which it may sleep forever.
  class Place {
   public:
    explicit Place(Passes& passes) : passes_(passes) {
      std::unique_lock lock(passes_.mutex_);
      passes_.left_.wait(lock, [this] { return passes_.free_ > 0; });
      --passes_.free_;
    }
    ~Place() {
      const std::lock_guard lock(passes_.mutex_);
      ++passes_.free_;
      passes_.left_.notify_one();
    }
    Place(const Place&) = delete;
    Place& operator=(const Place&) = delete;

   private:
    Passes& passes_;
  };

  const PassThreads threads_;
  const c10::Device device_;
  std::mutex mutex_;  // guards free_
  std::condition_variable left_;
  int free_;  // places in the model
};

}  // namespace muster::trainer
