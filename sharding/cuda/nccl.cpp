// NCCL through c10d. Device buffers go straight to NCCL; host buffers (a checkpoint's step, the
// rows of an evaluation) pass through a device copy, so that callers need not know which backend
// they are on.
#include <ATen/ATen.h>
#include <c10/cuda/CUDAFunctions.h>
#include <c10/cuda/CUDAGuard.h>
#include <c10/cuda/CUDAStream.h>
#include <cuda_runtime_api.h>
#include <torch/csrc/distributed/c10d/ProcessGroupNCCL.hpp>

#include "sharding/collectives/c10d.h"
#include "sharding/cuda/plugin.h"

namespace muster::sharding::cuda {
namespace {

bool on_device(const void* pointer) {
  cudaPointerAttributes attributes{};
  const bool known = cudaPointerGetAttributes(&attributes, pointer) == cudaSuccess;
  if (!known) (void)cudaGetLastError();  // an unregistered host pointer is not an error here
  return known && attributes.type == cudaMemoryTypeDevice;
}

// A host span's double on the device.
class DeviceCopy {
 public:
  DeviceCopy(std::span<const std::byte> host, c10::Device device)
      : host_(at::from_blob(const_cast<std::byte*>(host.data()),
                            {static_cast<std::int64_t>(host.size())}, at::kByte)),
        device_(host_.to(device)) {}
  std::span<std::byte> bytes() const {
    return {static_cast<std::byte*>(device_.data_ptr()), device_.nbytes()};
  }
  void back() { host_.copy_(device_); }

 private:
  at::Tensor host_, device_;
};

class NcclCollective final : public Collective {
 public:
  NcclCollective(std::unique_ptr<Collective> inner, c10::intrusive_ptr<c10d::Backend> group,
                 c10::Device device)
      : inner_(std::move(inner)), group_(std::move(group)), device_(device) {}
  // Waits for nobody: every call was done when it returned, and a peer may be gone.
  ~NcclCollective() override { group_->abort(); }
  int rank() const override { return inner_->rank(); }
  int size() const override { return inner_->size(); }
  std::string name() const override { return inner_->name(); }

  void all_to_all(std::span<const std::byte> send, std::span<std::byte> receive) override {
    if (on_device(send.data())) {
      inner_->all_to_all(send, receive);
    } else {
      DeviceCopy in(send, device_), out(receive, device_);
      inner_->all_to_all(in.bytes(), out.bytes());
      out.back();
    }
    stats_ = inner_->stats();
  }

  void exchange(const Circle& circle, std::span<const std::byte> send,
                std::span<std::byte> receive) override {
    inner_->exchange(circle, send, receive);
    stats_ = inner_->stats();
  }

  void reduce_scatter_sum(std::span<const std::byte> send, std::span<std::byte> receive,
                          WireDtype type) override {
    if (on_device(send.data())) {
      inner_->reduce_scatter_sum(send, receive, type);
    } else {
      DeviceCopy in(send, device_), out(receive, device_);
      inner_->reduce_scatter_sum(in.bytes(), out.bytes(), type);
      out.back();
    }
    stats_ = inner_->stats();
  }

  void all_gather(std::span<std::byte> buffer) override {
    in_place(buffer, [this](std::span<std::byte> bytes) { inner_->all_gather(bytes); });
  }

  void broadcast(std::span<std::byte> buffer, int root) override {
    in_place(buffer, [this, root](std::span<std::byte> bytes) { inner_->broadcast(bytes, root); });
  }

  void all_reduce_sum(std::span<std::int64_t> values) override {
    inner_->all_reduce_sum(values);
    stats_ = inner_->stats();
  }

 private:
  template <typename Call>
  void in_place(std::span<std::byte> buffer, Call call) {
    if (on_device(buffer.data())) {
      call(buffer);
    } else {
      DeviceCopy copy(buffer, device_);
      call(copy.bytes());
      copy.back();
    }
    stats_ = inner_->stats();
  }

  std::unique_ptr<Collective> inner_;
  c10::intrusive_ptr<c10d::Backend> group_;  // inner_'s
  c10::Device device_;
};

}  // namespace

std::unique_ptr<Collective> make_nccl(const StoreAddress& address, int rank, int size,
                                      std::chrono::duration<double> timeout) {
  const c10::Device device(c10::kCUDA, c10::cuda::current_device());
  c10::intrusive_ptr<c10d::Backend> group;
  auto inner = connect_c10d(
      {.store = address, .rank = rank, .size = size, .timeout = timeout},
      {.name = "nccl",
       .device = device,
       // wait() only orders the current stream behind NCCL's; the interface says that the call is
       // done.
       .finish =
           [device](c10d::Work& work) {
             const c10::cuda::CUDAGuard guard(device);
             work.wait();
             c10::cuda::getCurrentCUDAStream().synchronize();
           }},
      [&](const c10::intrusive_ptr<c10d::Store>& store) {
        const auto options = c10d::ProcessGroupNCCL::Options::create();
        options->timeout = std::chrono::duration_cast<std::chrono::milliseconds>(timeout);
        return group = c10::make_intrusive<c10d::ProcessGroupNCCL>(store, rank, size, options);
      });
  return std::make_unique<NcclCollective>(std::move(inner), std::move(group), device);
}

}  // namespace muster::sharding::cuda
