#include "sharding/collective_c10d.h"

#include <fmt/format.h>

#include <torch/csrc/distributed/c10d/Backend.hpp>

#include "base/error.h"

namespace muster::sharding {
namespace {

class C10dCollective final : public Collective {
 public:
  C10dCollective(c10::intrusive_ptr<c10d::Backend> backend, C10dOptions options)
      : backend_(std::move(backend)), options_(std::move(options)) {}
  int rank() const override { return backend_->getRank(); }
  int size() const override { return backend_->getSize(); }
  std::string name() const override { return options_.name; }

  void all_to_all(std::span<const std::byte> send, std::span<std::byte> receive) override {
    call("all_to_all", send.size(), chunk(send.size()) * (size() - 1), [&] {
      at::Tensor in = bytes_of(send), out = bytes_of(receive);
      std::vector<std::int64_t> equal_out, equal_in;
      finish(backend_->alltoall_base(out, in, equal_out, equal_in));
    });
  }

  void all_gather(std::span<std::byte> buffer) override {
    call("all_gather", buffer.size(), chunk(buffer.size()) * (size() - 1), [&] {
      at::Tensor all = bytes_of(buffer);
      const std::int64_t n = chunk(buffer.size());
      if (options_.gather_by_broadcast) {
        for (int r = 0; r < size(); ++r) broadcast_tensor(all.narrow(0, r * n, n), r);
      } else {
        at::Tensor mine = all.narrow(0, rank() * n, n);
        finish(backend_->_allgather_base(all, mine));
      }
    });
  }

  void broadcast(std::span<std::byte> buffer, int root) override {
    const std::int64_t sent = rank() == root ? static_cast<std::int64_t>(buffer.size()) * (size() - 1) : 0;
    call("broadcast", buffer.size(), sent, [&] { broadcast_tensor(bytes_of(buffer), root); });
  }

  void all_reduce_sum(std::span<std::int64_t> values) override {
    const auto sent = static_cast<std::int64_t>(values.size_bytes()) * (size() - 1);
    call("all_reduce_sum", values.size_bytes(), sent, [&] {
      const at::Tensor host = at::from_blob(values.data(), {static_cast<std::int64_t>(values.size())}, at::kLong);
      std::vector<at::Tensor> summed{host.to(options_.device)};  // the host's own memory when the device is the CPU
      finish(backend_->allreduce(summed));
      if (!options_.device.is_cpu()) host.copy_(summed[0]);
    });
  }

 private:
  template <typename Body>
  void call(const char* kind, std::size_t bytes, std::int64_t bytes_sent, Body body) {
    ++stats_.calls;
    try {
      if (bytes > 0) body();
    } catch (const std::exception& e) {
      throw CollectiveError(
          fmt::format("{}: {} of {} bytes (collective {}): {}", options_.name, kind, bytes, stats_.calls, e.what()));
    }
    stats_.bytes_sent += bytes_sent;
  }

  void broadcast_tensor(at::Tensor tensor, int root) {
    std::vector<at::Tensor> tensors{std::move(tensor)};
    c10d::BroadcastOptions options;
    options.rootRank = root;
    finish(backend_->broadcast(tensors, options));
  }

  void finish(const c10::intrusive_ptr<c10d::Work>& work) const { options_.finish(*work); }
  std::int64_t chunk(std::size_t total) const { return static_cast<std::int64_t>(total) / size(); }

  at::Tensor bytes_of(std::span<const std::byte> span) const {
    return at::from_blob(const_cast<std::byte*>(span.data()), {static_cast<std::int64_t>(span.size())},
                         at::TensorOptions().dtype(at::kByte).device(options_.device));
  }

  c10::intrusive_ptr<c10d::Backend> backend_;
  C10dOptions options_;
};

}  // namespace

std::unique_ptr<Collective> wrap_c10d(const c10::intrusive_ptr<c10d::Backend>& backend, C10dOptions options) {
  return std::make_unique<C10dCollective>(backend, std::move(options));
}

}  // namespace muster::sharding
