#include "sharding/host_offload.h"

namespace muster::sharding {

HostOffload::HostOffload(const EngineCore& core, at::Tensor flat)
    : core_(core),
      flat_(std::move(flat)),
      gradient_(core.kernels->host_zeros(core.layout.shard_elements(), at::kFloat)),
      parameters_(core.kernels->host_zeros(core.layout.shard_elements(), core.param_type())),
      stream_(core.param(0).tensor.device()),
      queue_(core.options.overlap) {
  for (int w = 0; w < core.layout.num_windows(); ++w) on_host(w).copy_(on_device(w));
}

void HostOffload::tell(std::string_view what, int window) const {
  if (core_.options.apart) core_.options.apart(what, window);
}

at::Tensor HostOffload::on_host(int window) const {
  return parameters_.narrow(0, core_.layout.shard_begin(window), core_.layout.window(window).slice);
}

at::Tensor HostOffload::on_device(int window) const {
  const Window range = core_.layout.window(window);
  return flat_.narrow(0, range.begin + core_.rank() * range.slice, range.slice);
}

void HostOffload::fetch(int window, const at::Tensor& slice) {
  queue_.post(stream_.behind_caller([this, window, slice] {
    tell("fetch", window);
    gradient_.narrow(0, core_.layout.shard_begin(window), slice.numel()).copy_(slice);
  }));
}

CommQueue::Ticket HostOffload::update(int window, std::vector<AdamWRun> runs) {
  return queue_.post([this, window, runs = std::move(runs)] {
    tell("update", window);
    for (const AdamWRun& run : runs) kernels_->adamw(run);
  });
}

void HostOffload::put_back(int window, CommQueue::Ticket updated) {
  queue_.wait(updated);
  tell("put back", window);
  on_device(window).copy_(on_host(window));
}

}  // namespace muster::sharding
