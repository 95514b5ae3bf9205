// The optimizer in host memory, beside a device that holds parameters and gradients. A window's
// reduced slice is copied to the host while backward goes on. After the consensus the CPU's kernels
// update window after window on a thread of their own, while the ones before are copied back and
// gathered and the next forward runs.
#pragma once

#include <ATen/core/Tensor.h>

#include <memory>
#include <vector>

#include "sharding/engine_core.h"

namespace muster::sharding {

class HostOffload {
 public:
  // flat: [padded elements], the parameters' memory on the device. `core` must outlive this.
  HostOffload(const EngineCore& core, at::Tensor flat);

  // On the host, of what this rank owns, in window order: the reduced sum, fp32, and the
  // parameters, in their dtype and always with the device's values once settled.
  const at::Tensor& gradient() const { return gradient_; }      // [shard elements]
  const at::Tensor& parameters() const { return parameters_; }  // [shard elements]

  // Copies a window's slice of the reduced gradient here, when the caller's work on it is done.
  // REQUIRES: the slice is not written again before the next update is done.
  void fetch(int window, const at::Tensor& slice);
  // Runs after every fetch so far.
  CommQueue::Ticket update(int window, std::vector<AdamWRun> runs);
  // Waits for that update, then copies the window's parameters to the device.
  void put_back(int window, CommQueue::Ticket updated);
  // Returns when everything posted is done; throws what it threw.
  void settle() { queue_.drain(); }
  void close() { queue_.close(); }

  std::int64_t gradient_bytes() const { return static_cast<std::int64_t>(gradient_.nbytes()); }
  std::int64_t parameter_bytes() const { return static_cast<std::int64_t>(parameters_.nbytes()); }

 private:
  void tell(std::string_view what, int window) const;
  at::Tensor on_host(int window) const;    // of the parameters
  at::Tensor on_device(int window) const;  // likewise

  const EngineCore& core_;
  at::Tensor flat_;
  at::Tensor gradient_;
  at::Tensor parameters_;
  const std::unique_ptr<Kernels> kernels_ = make_cpu_kernels();
  const SideStream stream_;
  CommQueue queue_;  // last: its thread uses the members above
};

}  // namespace muster::sharding
