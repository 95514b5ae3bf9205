#include "model/qwen/download.h"

#include <c10/core/impl/VirtualGuardImpl.h>

namespace muster::model {

Download::Download(std::vector<at::Tensor> made) : tensors_(std::move(made)) {
  if (tensors_.empty() || tensors_.front().is_cpu()) return;
  const at::Device device = tensors_.front().device();
  std::vector<at::Tensor> flat;
  for (const at::Tensor& tensor : tensors_) flat.push_back(tensor.reshape(-1));
  const at::Tensor all = at::cat(flat);
  const at::Tensor host =
      at::empty(all.sizes(), at::TensorOptions(all.dtype()).pinned_memory(true));
  host.copy_(all, /*non_blocking=*/true);
  arrived_.emplace(device.type());
  arrived_->record(c10::impl::VirtualGuardImpl(device.type()).getStream(device));
  std::int64_t first = 0;
  for (at::Tensor& tensor : tensors_) {
    const at::Tensor part = host.narrow(0, first, tensor.numel()).view(tensor.sizes());
    first += tensor.numel();
    tensor = part;
  }
}

const std::vector<at::Tensor>& Download::wait() {
  if (arrived_) arrived_->synchronize();
  return tensors_;
}

}  // namespace muster::model
