// NCCL through c10d. Device buffers go straight to NCCL; host buffers (a checkpoint's step, the rows of an evaluation) pass
// through a device copy, so that callers need not know which backend they are on.
#include <ATen/ATen.h>
#include <c10/cuda/CUDAFunctions.h>
#include <c10/cuda/CUDAStream.h>
#include <cuda_runtime_api.h>
#include <fmt/format.h>

#include <torch/csrc/distributed/c10d/ProcessGroupNCCL.hpp>

#include "base/error.h"
#include "sharding/collective_c10d.h"
#include "sharding/cuda/plugin.h"

namespace muster::sharding::cuda {
namespace {

bool on_device(const void* pointer) {
  cudaPointerAttributes attributes{};
  const bool known = cudaPointerGetAttributes(&attributes, pointer) == cudaSuccess;
  if (!known) (void)cudaGetLastError();   // an unregistered host pointer is not an error here
  return known && attributes.type == cudaMemoryTypeDevice;
}

// A host span's double on the device.
class DeviceCopy {
 public:
  explicit DeviceCopy(std::span<const std::byte> host)
      : host_(at::from_blob(const_cast<std::byte*>(host.data()), {static_cast<std::int64_t>(host.size())}, at::kByte)),
        device_(host_.to(at::kCUDA)) {}
  std::span<std::byte> bytes() const { return {static_cast<std::byte*>(device_.data_ptr()), device_.nbytes()}; }
  void back() { host_.copy_(device_); }

 private:
  at::Tensor host_, device_;
};

class NcclCollective final : public Collective {
 public:
  explicit NcclCollective(std::unique_ptr<Collective> device) : device_(std::move(device)) {}
  int rank() const override { return device_->rank(); }
  int size() const override { return device_->size(); }
  std::string name() const override { return device_->name(); }

  void all_to_all(std::span<const std::byte> send, std::span<std::byte> receive) override {
    if (on_device(send.data())) {
      device_->all_to_all(send, receive);
    } else {
      DeviceCopy in(send), out(receive);
      device_->all_to_all(in.bytes(), out.bytes());
      out.back();
    }
    stats_ = device_->stats();
  }

  void reduce_scatter_sum(std::span<const std::byte> send, std::span<std::byte> receive, WireDtype type) override {
    if (on_device(send.data())) {
      device_->reduce_scatter_sum(send, receive, type);
    } else {
      DeviceCopy in(send), out(receive);
      device_->reduce_scatter_sum(in.bytes(), out.bytes(), type);
      out.back();
    }
    stats_ = device_->stats();
  }

  void all_gather(std::span<std::byte> buffer) override {
    in_place(buffer, [this](std::span<std::byte> bytes) { device_->all_gather(bytes); });
  }

  void broadcast(std::span<std::byte> buffer, int root) override {
    in_place(buffer, [this, root](std::span<std::byte> bytes) { device_->broadcast(bytes, root); });
  }

  void all_reduce_sum(std::span<std::int64_t> values) override {
    device_->all_reduce_sum(values);
    stats_ = device_->stats();
  }

 private:
  template <typename Call> void in_place(std::span<std::byte> buffer, Call call) {
    if (on_device(buffer.data())) {
      call(buffer);
    } else {
      DeviceCopy copy(buffer);
      call(copy.bytes());
      copy.back();
    }
    stats_ = device_->stats();
  }

  std::unique_ptr<Collective> device_;
};

}  // namespace

std::unique_ptr<Collective> make_nccl(const std::string& host, int port, int rank, int size, int local_rank,
                                      std::chrono::duration<double> timeout) {
  const int devices = c10::cuda::device_count();
  if (devices == 0) throw PreflightError("sharding.backend is nccl and this machine shows no CUDA device (nvidia-smi)");
  const auto device = static_cast<c10::DeviceIndex>(devices == 1 ? 0 : local_rank);
  if (device >= devices) {
    throw PreflightError(fmt::format("local rank {} has no GPU of its own: {} are visible. NCCL cannot share one", local_rank,
                                     devices));
  }
  c10::cuda::set_device(device);
  return std::make_unique<NcclCollective>(connect_c10d(
      {.host = host, .port = port, .rank = rank, .size = size, .timeout = timeout},
      {.name = "nccl",
       .device = c10::Device(c10::kCUDA, device),
       // wait() only orders the current stream behind NCCL's; the engine's contract is that the call is done.
       .finish =
           [](c10d::Work& work) {
             work.wait();
             c10::cuda::getCurrentCUDAStream().synchronize();
           }},
      [&](const c10::intrusive_ptr<c10d::Store>& store) {
        const auto options = c10d::ProcessGroupNCCL::Options::create();
        options->timeout = std::chrono::duration_cast<std::chrono::milliseconds>(timeout);
        return c10::make_intrusive<c10d::ProcessGroupNCCL>(store, rank, size, options);
      }));
}

}  // namespace muster::sharding::cuda
