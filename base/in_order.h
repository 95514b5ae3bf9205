// Independent items on a few threads, whose results are taken in order on the caller's.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <type_traits>
#include <utility>
#include <vector>

namespace muster {

struct InOrder {
  int threads = 1;
  // Items that may be begun and not be taken yet, at least `threads`; 0: two for each thread.
  std::int64_t in_flight = 0;

  std::int64_t slots() const {
    return std::max<std::int64_t>({1, threads, in_flight > 0 ? in_flight : 2 * threads});
  }
};

// Runs work(0..n-1), each once, on `threads` threads of its own, and take(i) on the caller's, in
// the order of the items: take(i) comes after work(i) and take(i - 1) have returned. With one
// thread all of it runs on the caller's, and no thread is made. When work or take throws, no
// further item is begun; the items before the one that threw are taken, and what it threw is
// rethrown once all threads have ended: of several items that throw, that of the smallest index.
void take_in_order(std::int64_t n, const InOrder& how,
                   const std::function<void(std::int64_t i)>& work,
                   const std::function<void(std::int64_t i)>& take);

// The same where work(i) returns something: take(i, what it returned).
template <typename Work, typename Take>
void in_order(std::int64_t n, const InOrder& how, Work&& work, Take&& take) {
  using Result = std::invoke_result_t<Work&, std::int64_t>;
  std::vector<std::optional<Result>> slots(static_cast<std::size_t>(how.slots()));
  const auto slot_of = [&](std::int64_t i) -> std::optional<Result>& {
    return slots[static_cast<std::size_t>(i) % slots.size()];
  };
  take_in_order(
      n, how, [&](std::int64_t i) { slot_of(i).emplace(work(i)); },
      [&](std::int64_t i) {
        Result result = std::move(*slot_of(i));
        slot_of(i).reset();  // what it held goes before the next item comes here
        take(i, std::move(result));
      });
}

}  // namespace muster
