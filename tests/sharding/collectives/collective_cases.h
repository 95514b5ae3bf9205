// What every backend must do, with values that tell who sent what to whom. Throws, so that it can
// run on any thread.
#pragma once

#include <bit>
#include <cstring>
#include <memory>
#include <vector>

#include "sharding/collectives/collective.h"
#include "sharding/expect.h"
#include "sharding/kernels/bfloat16_bits.h"

namespace muster::test {

// A collective that passes everything on; tests override what they want to spoil or watch.
class Forwarding : public sharding::Collective {
 public:
  explicit Forwarding(std::shared_ptr<sharding::Collective> inner) : inner_(std::move(inner)) {}
  int rank() const override { return inner_->rank(); }
  int size() const override { return inner_->size(); }
  std::string name() const override { return inner_->name(); }
  void all_to_all(std::span<const std::byte> send, std::span<std::byte> receive) override {
    before("all_to_all", send.size());
    inner_->all_to_all(send, receive);
    stats_ = inner_->stats();
  }
  void exchange(const sharding::Circle& circle, std::span<const std::byte> send,
                std::span<std::byte> receive) override {
    before("exchange", send.size());
    inner_->exchange(circle, send, receive);
    stats_ = inner_->stats();
  }
  void reduce_scatter_sum(std::span<const std::byte> send, std::span<std::byte> receive,
                          sharding::WireDtype type) override {
    before("reduce_scatter_sum", send.size());
    inner_->reduce_scatter_sum(send, receive, type);
    stats_ = inner_->stats();
  }
  void all_gather(std::span<std::byte> buffer) override {
    before("all_gather", buffer.size());
    inner_->all_gather(buffer);
    stats_ = inner_->stats();
  }
  void broadcast(std::span<std::byte> buffer, int root) override {
    before("broadcast", buffer.size());
    inner_->broadcast(buffer, root);
    stats_ = inner_->stats();
  }
  sharding::Circle near() const override { return inner_->near(); }
  std::shared_ptr<std::span<std::byte>> shared_memory(std::size_t bytes) override {
    return inner_->shared_memory(bytes);
  }
  void read_near(std::span<const std::byte> send,
                 const std::function<void(sharding::Chunks)>& use) override {
    before("read_near", send.size());
    inner_->read_near(send, use);
    stats_ = inner_->stats();
  }
  void all_to_all(std::span<const std::byte> send, std::span<std::byte> receive,
                  const std::function<void(sharding::Chunks)>& use) override {
    if (!receive.empty()) return Collective::all_to_all(send, receive, use);
    before("all_to_all", send.size());
    inner_->all_to_all(send, receive, use);
    stats_ = inner_->stats();
  }
  void all_reduce_sum(std::span<std::int64_t> values) override {
    before("all_reduce_sum", values.size_bytes());
    inner_->all_reduce_sum(values);
    stats_ = inner_->stats();
  }

 protected:
  virtual void before(const char* /*kind*/, std::size_t /*bytes*/) {}
  std::shared_ptr<sharding::Collective> inner_;
};

// Rank r sends r + i + 1 in chunk i: sums are small integers, exact in either type.
template <typename Value>
void check_reduce_scatter(sharding::Collective& c, std::size_t count, sharding::WireDtype type) {
  const std::size_t n = c.size();
  const std::size_t me = c.rank();
  std::vector<Value> send;
  std::vector<Value> receive(count);
  for (std::size_t i = 0; i < n; ++i) {
    send.insert(send.end(), count, sharding::from_float<Value>(static_cast<float>(me + i + 1)));
  }
  c.reduce_scatter_sum(std::as_bytes(std::span(send)), std::as_writable_bytes(std::span(receive)),
                       type);
  const std::size_t sum = n * (me + 1) + n * (n - 1) / 2;
  expect_equal("reduce_scatter_sum", receive,
               std::vector<Value>(count, sharding::from_float<Value>(static_cast<float>(sum))));
}

// Circles of neighbours, and of every second rank, where the world has them.
inline void check_exchange(sharding::Collective& c, std::size_t chunk) {
  const int count = c.size() % 2 == 0 ? c.size() / 2 : c.size();
  for (const int stride : {1, c.size() / count}) {
    const int place = c.rank() / stride % count;
    const sharding::Circle circle{c.rank() - place * stride, stride, count};
    const auto value = [](int from, int to) { return static_cast<std::byte>(16 * from + to); };
    std::vector<std::byte> send, expected;
    for (int i = 0; i < count; ++i) {
      const int peer = circle.first + i * stride;
      send.insert(send.end(), chunk, value(c.rank(), peer));
      expected.insert(expected.end(), chunk, value(peer, c.rank()));
    }
    std::vector<std::byte> receive(send.size());
    c.exchange(circle, send, receive);
    expect_equal("exchange", receive, expected);
  }
}

inline void check_collective(sharding::Collective& c, std::size_t chunk = 1000) {
  const std::size_t n = c.size();
  const std::size_t me = c.rank();
  const auto value = [](std::size_t from, std::size_t to) {
    return static_cast<std::byte>(16 * from + to);
  };
  std::vector<std::byte> send;
  std::vector<std::byte> receive(n * chunk);
  std::vector<std::byte> expected;
  std::vector<std::byte> all(n * chunk);
  std::vector<std::byte> gathered;
  for (std::size_t r = 0; r < n; ++r) {
    send.insert(send.end(), chunk, value(me, r));
    expected.insert(expected.end(), chunk, value(r, me));
    gathered.insert(gathered.end(), chunk, value(r, 7));
  }
  const std::int64_t before = c.stats().bytes_sent;
  c.all_to_all(send, receive);
  expect_equal("all_to_all", receive, expected);
  expect_equal("bytes sent", c.stats().bytes_sent - before,
               static_cast<std::int64_t>(chunk * (n - 1)));
  check_exchange(c, chunk);
  std::fill_n(all.begin() + static_cast<std::ptrdiff_t>(me * chunk), chunk, value(me, 7));
  c.all_gather(all);
  expect_equal("all_gather", all, gathered);
  check_reduce_scatter<float>(c, chunk / 4, sharding::WireDtype::kFloat32);
  check_reduce_scatter<sharding::Bf16Bits>(c, chunk / 2, sharding::WireDtype::kBFloat16);
  std::vector<std::byte> message(chunk, value(me, 1));
  c.broadcast(message, static_cast<int>(n) - 1);
  expect_equal("broadcast", message, std::vector<std::byte>(chunk, value(n - 1, 1)));
  const auto bits = std::bit_cast<std::int64_t>(-0.1);
  const std::int64_t ranks = c.size();
  std::vector<std::int64_t> values{c.rank() + 1, me == 0 ? bits : 0, -1};
  c.all_reduce_sum(values);
  expect_equal("all_reduce_sum", values[0], ranks * (ranks + 1) / 2);
  expect_equal("all_reduce_sum of bits", values[1], bits);
  expect_equal("all_reduce_sum of negatives", values[2], -ranks);
  expect(c.sequence() >= 6, fmt::format("sequence {} after six collectives", c.sequence()));
}

}  // namespace muster::test
