#include "trainer/evaluate/passes.h"

#include <ATen/Parallel.h>
#include <c10/core/GradMode.h>

#include <algorithm>
#include <atomic>
#include <catch2/catch_test_macros.hpp>
#include <chrono>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

namespace muster::trainer {
namespace {

using namespace std::chrono_literals;

TEST_CASE("passes: only so many are in the model, each on one compute thread without gradients",
          "[unit]") {
  const ComputeThreads two(2);  // the caller's, before and after
  for (const int model : {1, 2, 3}) {
    INFO(model);
    Passes passes({.model = model, .beside = 2}, c10::kCPU);
    std::atomic<int> inside = 0;
    std::atomic<int> most = 0;
    std::atomic<int> wrong = 0;
    std::vector<std::int64_t> taken;
    passes.run(
        30,
        [&](std::int64_t i) {
          return passes.in_model([&] {
            const int now = ++inside;
            int before = most;
            while (before < now && !most.compare_exchange_weak(before, now)) {
            }
            if (at::get_num_threads() != 1 || c10::GradMode::is_enabled()) ++wrong;
            std::this_thread::sleep_for(1ms);
            --inside;
            return i;
          });
        },
        [&](std::int64_t i, std::int64_t result) {
          CHECK(i == result);
          taken.push_back(result);
        });
    CHECK(most <= model);
    CHECK(wrong == 0);
    CHECK(taken.size() == 30);
    CHECK(std::ranges::is_sorted(taken));
    CHECK(at::get_num_threads() == 2);
  }
}

TEST_CASE("passes: what a pass throws leaves its place to others, and the first is told",
          "[unit][fault]") {
  Passes passes({.model = 1, .beside = 2}, c10::kCPU);
  const auto run = [&](std::int64_t bad) {
    std::int64_t taken = 0;
    try {
      passes.run(
          20,
          [&](std::int64_t i) {
            return passes.in_model([&] {
              if (i >= bad) throw std::runtime_error("picture " + std::to_string(i));
              return i;
            });
          },
          [&](std::int64_t, std::int64_t) { ++taken; });
    } catch (const std::runtime_error& error) {
      CHECK(error.what() == "picture " + std::to_string(bad));
    }
    return taken;
  };
  CHECK(run(7) == 7);
  CHECK(run(0) == 0);
  CHECK(run(20) == 20);
}

}  // namespace
}  // namespace muster::trainer
