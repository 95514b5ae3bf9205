// What every backend must do, with values that tell who sent what to whom. Throws, so that it can
// run on any thread.
#pragma once

#include <bit>
#include <cstring>
#include <memory>
#include <stdexcept>
#include <vector>

#include "sharding/collectives/collective.h"
#include "sharding/kernels/bfloat16_bits.h"

namespace muster::test {

inline void expect(bool condition, const char* what) {
  if (!condition) throw std::runtime_error(what);
}

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
  std::shared_ptr<std::span<std::byte>> shared_memory(std::size_t bytes) override {
    return inner_->shared_memory(bytes);
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
  virtual void before(const char* kind, std::size_t bytes) { (void)kind, (void)bytes; }
  std::shared_ptr<sharding::Collective> inner_;
};

// Rank r sends r + i + 1 in chunk i: sums are small integers, exact in either type.
template <typename Value>
void check_reduce_scatter(sharding::Collective& c, std::size_t count, sharding::WireDtype type) {
  const auto n = static_cast<std::size_t>(c.size()), me = static_cast<std::size_t>(c.rank());
  std::vector<Value> send, receive(count);
  for (std::size_t i = 0; i < n; ++i) {
    send.insert(send.end(), count, sharding::from_float<Value>(static_cast<float>(me + i + 1)));
  }
  c.reduce_scatter_sum(std::as_bytes(std::span(send)), std::as_writable_bytes(std::span(receive)),
                       type);
  const auto sum = static_cast<float>(n * (me + 1) + n * (n - 1) / 2);
  expect(receive == std::vector<Value>(count, sharding::from_float<Value>(sum)),
         "reduce_scatter_sum");
}

inline void check_collective(sharding::Collective& c, std::size_t chunk = 1000) {
  const auto n = static_cast<std::size_t>(c.size()), me = static_cast<std::size_t>(c.rank());
  const auto value = [](std::size_t from, std::size_t to) {
    return static_cast<std::byte>(16 * from + to);
  };
  std::vector<std::byte> send, receive(n * chunk), expected, all(n * chunk), gathered;
  for (std::size_t r = 0; r < n; ++r) {
    send.insert(send.end(), chunk, value(me, r));
    expected.insert(expected.end(), chunk, value(r, me));
    gathered.insert(gathered.end(), chunk, value(r, 7));
  }
  const std::int64_t before = c.stats().bytes_sent;
  c.all_to_all(send, receive);
  expect(receive == expected, "all_to_all");
  expect(c.stats().bytes_sent - before == static_cast<std::int64_t>(chunk * (n - 1)), "bytes sent");
  std::fill_n(all.begin() + static_cast<std::ptrdiff_t>(me * chunk), chunk, value(me, 7));
  c.all_gather(all);
  expect(all == gathered, "all_gather");
  check_reduce_scatter<float>(c, chunk / 4, sharding::WireDtype::kFloat32);
  check_reduce_scatter<sharding::Bf16Bits>(c, chunk / 2, sharding::WireDtype::kBFloat16);
  std::vector<std::byte> message(chunk, value(me, 1));
  c.broadcast(message, static_cast<int>(n) - 1);
  expect(message == std::vector<std::byte>(chunk, value(n - 1, 1)), "broadcast");
  const auto bits = std::bit_cast<std::int64_t>(-0.1);
  std::vector<std::int64_t> values{static_cast<std::int64_t>(me) + 1, me == 0 ? bits : 0, -1};
  c.all_reduce_sum(values);
  expect(values[0] == static_cast<std::int64_t>(n * (n + 1) / 2), "all_reduce_sum");
  expect(values[1] == bits && values[2] == -static_cast<std::int64_t>(n),
         "all_reduce_sum of bits and negatives");
  expect(c.sequence() >= 6, "sequence");
}

}  // namespace muster::test
