#include "base/tensors/compute_threads.h"

#include <ATen/Parallel.h>

#include <catch2/catch_test_macros.hpp>
#include <thread>
#include <vector>

namespace muster {
namespace {

TEST_CASE("compute threads: a scope ends as it began, for its thread and for later ones",
          "[unit]") {
  const ComputeThreads three(3);
  REQUIRE(at::get_num_threads() == 3);
  std::vector<int> inside(4, 0);
  {
    const ComputeThreads one(1);
    CHECK(at::get_num_threads() == 1);
    std::vector<std::jthread> threads;
    for (int& seen : inside)
      threads.emplace_back([&seen] {
        const ComputeThreads own(1);
        seen = at::get_num_threads();
      });
  }
  CHECK(inside == std::vector<int>(4, 1));
  CHECK(at::get_num_threads() == 3);
  int later = 0;
  std::jthread([&later] { later = at::get_num_threads(); }).join();
  CHECK(later == 3);
}

}  // namespace
}  // namespace muster
