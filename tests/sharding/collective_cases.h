// What every backend must do, with values that tell who sent what to whom. Throws, so that it can run on any thread.
#pragma once

#include <bit>
#include <stdexcept>
#include <vector>

#include "sharding/collective.h"

namespace muster::test {

inline void expect(bool condition, const char* what) {
  if (!condition) throw std::runtime_error(what);
}

inline void check_collective(sharding::Collective& c, std::size_t chunk = 1000) {
  const auto n = static_cast<std::size_t>(c.size()), me = static_cast<std::size_t>(c.rank());
  const auto value = [](std::size_t from, std::size_t to) { return static_cast<std::byte>(16 * from + to); };
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
  std::vector<std::byte> message(chunk, value(me, 1));
  c.broadcast(message, static_cast<int>(n) - 1);
  expect(message == std::vector<std::byte>(chunk, value(n - 1, 1)), "broadcast");
  const auto bits = std::bit_cast<std::int64_t>(-0.1);
  std::vector<std::int64_t> values{static_cast<std::int64_t>(me) + 1, me == 0 ? bits : 0, -1};
  c.all_reduce_sum(values);
  expect(values[0] == static_cast<std::int64_t>(n * (n + 1) / 2), "all_reduce_sum");
  expect(values[1] == bits && values[2] == -static_cast<std::int64_t>(n), "all_reduce_sum of bits and negatives");
  expect(c.sequence() >= 4, "sequence");
}

}  // namespace muster::test
