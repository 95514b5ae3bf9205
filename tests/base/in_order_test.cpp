#include "base/in_order.h"

#include <algorithm>
#include <atomic>
#include <catch2/catch_test_macros.hpp>
#include <chrono>
#include <memory>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

namespace muster {
namespace {

using namespace std::chrono_literals;

std::vector<std::int64_t> first_numbers(std::int64_t n) {
  std::vector<std::int64_t> numbers;
  for (std::int64_t i = 0; i < n; ++i) numbers.push_back(i);
  return numbers;
}

TEST_CASE("in order: results come in the order of the items, on the caller's thread", "[unit]") {
  for (const int threads : {1, 2, 3, 8}) {
    INFO(threads);
    const auto caller = std::this_thread::get_id();
    std::vector<std::int64_t> taken;
    std::atomic<int> elsewhere = 0;
    in_order(
        50, {.threads = threads},
        [&](std::int64_t i) {
          if (std::this_thread::get_id() != caller) ++elsewhere;
          if (i % 7 == 0) std::this_thread::sleep_for(1ms);  // later items end sooner
          return std::make_unique<std::int64_t>(i);          // results are moved, not copied
        },
        [&](std::int64_t i, std::unique_ptr<std::int64_t> result) {
          CHECK(*result == i);
          CHECK(std::this_thread::get_id() == caller);
          taken.push_back(i);
        });
    CHECK(taken == first_numbers(50));
    CHECK(elsewhere == (threads == 1 ? 0 : 50));
  }
}

TEST_CASE("in order: nothing to do is done", "[unit]") {
  for (const int threads : {1, 4})
    in_order(
        0, {.threads = threads}, [](std::int64_t i) { return i; },
        [](std::int64_t, std::int64_t) { FAIL("there is no item"); });
}

TEST_CASE("in order: no more items are begun than may be in flight", "[unit]") {
  std::atomic<std::int64_t> begun = 0;
  std::atomic<std::int64_t> done = 0;
  std::int64_t most = 0;
  in_order(
      40, {.threads = 3, .in_flight = 4},
      [&](std::int64_t i) {
        ++begun;
        return i;
      },
      [&](std::int64_t, std::int64_t) {
        std::this_thread::sleep_for(1ms);  // workers have time to run ahead
        most = std::max<std::int64_t>(most, begun - done);
        ++done;
      });
  CHECK(most <= 4);
  CHECK(most >= 2);
}

struct Failed {
  std::string what;
  std::vector<std::int64_t> taken;
  std::int64_t running = 0;  // when the exception arrived
  std::int64_t begun = 0;
};

// Items 5 and 9 throw, 9 sooner.
Failed run_failing(int threads) {
  Failed failed;
  std::atomic<std::int64_t> running = 0;
  std::atomic<std::int64_t> begun = 0;
  try {
    in_order(
        1000, {.threads = threads, .in_flight = 16},
        [&](std::int64_t i) {
          ++begun;
          ++running;
          if (i < 9) std::this_thread::sleep_for(2ms);
          --running;
          if (i == 5 || i == 9) throw std::runtime_error("item " + std::to_string(i));
          return i;
        },
        [&](std::int64_t i, std::int64_t) { failed.taken.push_back(i); });
  } catch (const std::runtime_error& error) {
    failed.what = error.what();
  }
  failed.running = running;
  failed.begun = begun;
  return failed;
}

TEST_CASE("in order: the first item that throws ends it, after the items before it", "[unit]") {
  for (const int threads : {1, 2, 12}) {
    INFO(threads);
    const Failed failed = run_failing(threads);
    CHECK(failed.what == "item 5");
    CHECK(failed.taken == first_numbers(5));
    CHECK(failed.running == 0);
    CHECK(failed.begun < 40);
  }
}

TEST_CASE("in order: what take throws ends the threads, too", "[unit]") {
  for (const int threads : {1, 3}) {
    INFO(threads);
    std::atomic<std::int64_t> running = 0;
    std::int64_t taken = 0;
    const auto run = [&] {
      in_order(
          100, {.threads = threads},
          [&](std::int64_t i) {
            ++running;
            std::this_thread::sleep_for(1ms);
            --running;
            return i;
          },
          [&](std::int64_t, std::int64_t) {
            if (++taken == 4) throw std::runtime_error("the disk is full");
          });
    };
    CHECK_THROWS_AS(run(), std::runtime_error);
    CHECK(taken == 4);
    CHECK(running == 0);
  }
}

}  // namespace
}  // namespace muster
