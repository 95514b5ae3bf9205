#include "trainer/evaluate/memory_slope.h"

#include <catch2/catch_approx.hpp>
#include <catch2/catch_test_macros.hpp>

using namespace muster::trainer;

TEST_CASE("a flat curve after warm-up is flat, a planted leak is not", "[unit]") {
  std::vector<std::int64_t> flat, leaking;
  for (std::int64_t i = 0; i < 100; ++i) {
    flat.push_back((i < 20 ? i : 20) * (10 << 20) + (i % 3) * 4096);
    leaking.push_back(flat.back() + i * (1 << 20));
  }
  CHECK(fit_memory(flat, 33).flat);
  const MemorySlope leak = fit_memory(leaking, 33);
  CHECK_FALSE(leak.flat);
  CHECK(leak.bytes_per_step == Catch::Approx(1 << 20).epsilon(0.01));
}

TEST_CASE("caches that fill ever more slowly are told from a leak", "[unit]") {
  std::vector<std::int64_t> caches, leaking, both;
  double entries = 0;
  for (std::int64_t i = 0; i < 60; ++i) {
    entries += 40.0 / static_cast<double>(i + 1);  // new shapes become rare
    caches.push_back(static_cast<std::int64_t>(entries * (1 << 20)));
    leaking.push_back(i * (1 << 18));
    both.push_back(caches.back() + i * (8 << 20));
  }
  CHECK(fit_memory(caches, 20).filling());
  CHECK_FALSE(fit_memory(leaking, 20).filling());
  CHECK_FALSE(fit_memory(both, 20).filling());
  CHECK_FALSE(fit_memory(std::vector<std::int64_t>(60, 1 << 30), 20).filling());
}
