// A mismatch between ranks makes MPI and Gloo hang, truncate or abort. This wrapper has all ranks
// compare a short header before every collective, so that it becomes an error that says who does
// what.
#include <fmt/format.h>

#include <array>

#include "base/error.h"
#include "sharding/collectives/collective.h"

namespace muster::sharding {
namespace {

enum Kind : std::int64_t {
  kAllToAll,
  kReduceScatter,
  kAllGather,
  kBroadcast,
  kAllReduce,
  kExchange,
  kReadNear
};
constexpr std::array kKindNames{"all_to_all",     "reduce_scatter_sum", "all_gather", "broadcast",
                                "all_reduce_sum", "exchange",           "read_near"};

using Header = std::array<std::int64_t, 4>;  // kind, bytes, root, type or stride, sequence

std::string describe(const Header& h) {
  std::string detail;
  if (h[0] == kBroadcast) detail = fmt::format(", root {}", h[2]);
  if (h[0] == kExchange) detail = fmt::format(", each {}-th rank", h[2]);
  if (h[0] == kReduceScatter) detail = fmt::format(", type {}", h[2]);
  return fmt::format("{} of {} bytes{} (collective {})", kKindNames[h[0]], h[1], detail, h[3]);
}

class CheckedCollective final : public Collective {
 public:
  explicit CheckedCollective(std::unique_ptr<Collective> inner) : inner_(std::move(inner)) {}
  int rank() const override { return inner_->rank(); }
  int size() const override { return inner_->size(); }
  std::string name() const override { return inner_->name() + ", checked"; }

  void all_to_all(std::span<const std::byte> send, std::span<std::byte> receive) override {
    checked(kAllToAll, send.size(), 0, [&] { inner_->all_to_all(send, receive); });
  }
  void exchange(const Circle& circle, std::span<const std::byte> send,
                std::span<std::byte> receive) override {
    checked(kExchange, send.size(), circle.stride,
            [&] { inner_->exchange(circle, send, receive); });
  }
  void reduce_scatter_sum(std::span<const std::byte> send, std::span<std::byte> receive,
                          WireDtype type) override {
    checked(kReduceScatter, send.size(), static_cast<std::int64_t>(type),
            [&] { inner_->reduce_scatter_sum(send, receive, type); });
  }
  void all_gather(std::span<std::byte> buffer) override {
    checked(kAllGather, buffer.size(), 0, [&] { inner_->all_gather(buffer); });
  }
  void broadcast(std::span<std::byte> buffer, int root) override {
    checked(kBroadcast, buffer.size(), root, [&] { inner_->broadcast(buffer, root); });
  }
  Circle near() const override { return inner_->near(); }
  std::shared_ptr<std::span<std::byte>> shared_memory(std::size_t bytes) override {
    return inner_->shared_memory(bytes);
  }
  void read_near(std::span<const std::byte> send, const std::function<void(Chunks)>& use) override {
    checked(kReadNear, send.size(), 0, [&] { inner_->read_near(send, use); });
  }
  void all_to_all(std::span<const std::byte> send, std::span<std::byte> receive,
                  const std::function<void(Chunks)>& use) override {
    checked(kAllToAll, send.size(), 0, [&] { inner_->all_to_all(send, receive, use); });
  }
  void all_reduce_sum(std::span<std::int64_t> values) override {
    checked(kAllReduce, values.size_bytes(), 0, [&] { inner_->all_reduce_sum(values); });
  }

 private:
  template <typename Call>
  void checked(Kind kind, std::size_t bytes, std::int64_t detail, Call call) {
    ++stats_.calls;
    std::vector<Header> headers(size());
    const Header mine{kind, static_cast<std::int64_t>(bytes), detail, stats_.calls};
    headers[rank()] = mine;
    inner_->all_gather(std::as_writable_bytes(std::span(headers)));
    for (std::size_t r = 0; r < headers.size(); ++r) {
      if (headers[r] == headers[0]) continue;
      throw CollectiveError(
          fmt::format("ranks disagree: rank 0 is in {}, rank {} in {} (this is rank {}, in {})",
                      describe(headers[0]), r, describe(headers[r]), rank(), describe(mine)));
    }
    const std::int64_t before = inner_->stats().bytes_sent;
    call();
    stats_.bytes_sent += inner_->stats().bytes_sent - before;  // the headers are not counted
  }

  std::unique_ptr<Collective> inner_;
};

}  // namespace

std::unique_ptr<Collective> make_checked(std::unique_ptr<Collective> inner) {
  return std::make_unique<CheckedCollective>(std::move(inner));
}

}  // namespace muster::sharding
