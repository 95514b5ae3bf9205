#include "sharding/collectives/c10d.h"

#include <fmt/format.h>

#include <torch/csrc/distributed/c10d/Backend.hpp>
#include <torch/csrc/distributed/c10d/Store.hpp>

#include "base/error.h"
#include "sharding/collectives/token_store.h"

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

  // Ranks outside the circle get nothing.
  void exchange(const Circle& circle, std::span<const std::byte> send,
                std::span<std::byte> receive) override {
    const std::int64_t part = static_cast<std::int64_t>(send.size()) / circle.count;
    call("exchange", send.size(), part * (circle.count - 1), [&] {
      at::Tensor in = bytes_of(send), out = bytes_of(receive);
      std::vector<std::int64_t> sent(size(), 0);
      for (int i = 0; i < circle.count; ++i) sent[circle.first + i * circle.stride] = part;
      std::vector<std::int64_t> received = sent;  // Gloo moves each vector away
      finish(backend_->alltoall_base(out, in, received, sent));
    });
  }

  void reduce_scatter_sum(std::span<const std::byte> send, std::span<std::byte> receive,
                          WireDtype type) override {
    const std::int64_t sent = chunk(send.size()) * (size() - 1) * options_.reduce_scatter_cost;
    call("reduce_scatter_sum", send.size(), sent, [&] {
      const at::ScalarType scalar = type == WireDtype::kFloat32 ? at::kFloat : at::kBFloat16;
      at::Tensor in = bytes_of(send).view(scalar), out = bytes_of(receive).view(scalar);
      finish(backend_->_reduce_scatter_base(out, in, c10d::ReduceScatterOptions()));
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
    const std::int64_t sent =
        rank() == root ? static_cast<std::int64_t>(buffer.size()) * (size() - 1) : 0;
    call("broadcast", buffer.size(), sent, [&] { broadcast_tensor(bytes_of(buffer), root); });
  }

  void all_reduce_sum(std::span<std::int64_t> values) override {
    const auto sent =
        2 * static_cast<std::int64_t>(values.size_bytes()) * (size() - 1) / size();  // a ring
    call("all_reduce_sum", values.size_bytes(), sent, [&] {
      const at::Tensor host =
          at::from_blob(values.data(), {static_cast<std::int64_t>(values.size())}, at::kLong);
      std::vector<at::Tensor> summed{
          host.to(options_.device)};  // the host's own memory when the device is the CPU
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
    } catch (const c10::Error& e) {
      fail(kind, bytes, e.what_without_backtrace());
    } catch (const std::exception& e) {
      fail(kind, bytes, e.what());
    }
    stats_.bytes_sent += bytes_sent;
  }

  [[noreturn]] void fail(const char* kind, std::size_t bytes, const char* why) const {
    throw CollectiveError(fmt::format("{}: {} of {} bytes (collective {}): {}", options_.name, kind,
                                      bytes, stats_.calls, why));
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
    return at::from_blob(const_cast<std::byte*>(span.data()),
                         {static_cast<std::int64_t>(span.size())},
                         at::TensorOptions().dtype(at::kByte).device(options_.device));
  }

  c10::intrusive_ptr<c10d::Backend> backend_;
  C10dOptions options_;
};

}  // namespace

std::unique_ptr<Collective> connect_c10d(const C10dAddress& at, C10dOptions options,
                                         const MakeBackend& make) {
  try {
    return std::make_unique<C10dCollective>(make(make_token_store(at.store, at.rank, at.limit())),
                                            options);
  } catch (const c10::Error& e) {
    throw CollectiveError(
        fmt::format("{}: rank {} of {} found no way to the others through {}:{}: {}", options.name,
                    at.rank, at.size, at.store.host, at.store.port, e.what_without_backtrace()));
  }
}

}  // namespace muster::sharding
