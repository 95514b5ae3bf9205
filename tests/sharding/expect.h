// Assertions for threads that are ranks: they throw, with both values, and on_ranks() hands the
// first exception to the test. (Catch2's own belong to the test's thread.)
#pragma once

#include <fmt/format.h>

#include <concepts>
#include <cstddef>
#include <ranges>
#include <stdexcept>
#include <string>
#include <string_view>

#include "sharding/plan/memory_plan.h"

namespace muster::test {

inline void expect(bool holds, std::string_view what) {
  if (!holds) throw std::runtime_error(std::string(what));
}

template <typename Value>
requires fmt::is_formattable<Value>::value std::string shown(const Value& value) {
  return fmt::format("{}", value);
}
inline std::string shown(std::byte value) {
  return fmt::format("{:#04x}", static_cast<int>(value));
}
inline std::string shown(const sharding::EngineBytes& b) {
  return fmt::format(
      "parameters {} gradient shard {} master {} moments {} staging {} accumulation {} "
      "partial sums {}; on the host: "
      "parameters {} gradient {} master {} moments {}",
      b.parameters, b.gradient_shard, b.master, b.moments, b.staging, b.accumulation,
      b.partial_sums, b.host.parameters, b.host.gradient, b.host.master, b.host.moments);
}

template <typename Value, typename Wanted>
void expect_equal(std::string_view what, const Value& got, const Wanted& wanted) {
  if (got == wanted) return;
  throw std::runtime_error(fmt::format("{}: got {}, wanted {}", what, shown(got), shown(wanted)));
}

// Long ones: the first element that differs.
template <std::ranges::random_access_range Values>
requires(!std::convertible_to<Values, std::string_view>) void expect_equal(std::string_view what,
                                                                           const Values& got,
                                                                           const Values& wanted) {
  expect_equal(fmt::format("{}, elements", what), std::ranges::size(got),
               std::ranges::size(wanted));
  for (std::size_t i = 0; i < std::ranges::size(got); ++i) {
    if (!(got[i] == wanted[i]))
      expect_equal(fmt::format("{}, element {}", what, i), got[i], wanted[i]);
  }
}

}  // namespace muster::test
