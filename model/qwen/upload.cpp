#include "model/qwen/upload.h"

namespace muster::model {

at::Tensor upload(const at::Tensor& host, at::Device device) {
  if (device.is_cpu() || !host.is_cpu() || host.numel() == 0) return host.to(device);
  return host.contiguous().pin_memory().to(device, /*non_blocking=*/true);
}

at::Tensor upload(const std::vector<std::int64_t>& values, at::Device device) {
  return upload(at::tensor(values, at::kLong), device);
}

}  // namespace muster::model
