// Several ranks that share one GPU, which NCCL cannot: device buffers travel through the host over
// the `threads` backend, on whatever stream the caller stands. REQUIRES that no hook has to wait
// for a peer, since all ranks of a process share one autograd thread per device: overlap, and not
// more windows than StagingRing has buffers.
#pragma once

#include <ATen/core/Tensor.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/from_blob.h>

#include <memory>
#include <utility>

#include "sharding/collectives/collective.h"

namespace muster::test {

class StagedCollective final : public sharding::Collective {
 public:
  explicit StagedCollective(std::shared_ptr<sharding::Collective> host) : host_(std::move(host)) {}
  int rank() const override { return host_->rank(); }
  int size() const override { return host_->size(); }
  std::string name() const override { return "staged"; }

  void all_to_all(std::span<const std::byte> send, std::span<std::byte> receive) override {
    const Staged in(send), out(receive);
    host_->all_to_all(in.bytes(), out.bytes());
    finish(out);
  }
  void reduce_scatter_sum(std::span<const std::byte> send, std::span<std::byte> receive,
                          sharding::WireDtype type) override {
    const Staged in(send), out(receive);
    host_->reduce_scatter_sum(in.bytes(), out.bytes(), type);
    finish(out);
  }
  void all_gather(std::span<std::byte> buffer) override {
    const Staged all(buffer);
    host_->all_gather(all.bytes());
    finish(all);
  }
  void broadcast(std::span<std::byte> buffer, int root) override {
    const Staged all(buffer);
    host_->broadcast(all.bytes(), root);
    finish(all);
  }
  void all_reduce_sum(std::span<std::int64_t> values) override {
    host_->all_reduce_sum(values);
    stats_ = host_->stats();
  }

 private:
  // A span and its double on the host; the span itself where it lies there.
  class Staged {
   public:
    explicit Staged(std::span<const std::byte> span)
        : span_(const_cast<std::byte*>(span.data()), span.size()) {
      if (span.empty()) return;
      device_ = on_device();
      if (device_.defined()) host_ = device_.cpu();
    }
    std::span<std::byte> bytes() const {
      return host_.defined() ? std::span(static_cast<std::byte*>(host_.data_ptr()), span_.size())
                             : span_;
    }
    void back() const {
      if (device_.defined()) device_.copy_(host_);
    }

   private:
    at::Tensor on_device() const {  // from_blob asks the driver whose the pointer is
      try {
        return at::from_blob(span_.data(), {static_cast<std::int64_t>(span_.size())},
                             at::TensorOptions(at::kCUDA).dtype(at::kByte));
      } catch (const c10::Error&) {
        return {};
      }
    }
    std::span<std::byte> span_;
    at::Tensor device_, host_;
  };

  void finish(const Staged& written) {
    written.back();
    stats_ = host_->stats();
  }

  std::shared_ptr<sharding::Collective> host_;
};

}  // namespace muster::test
