#include "base/tensors/tensor_memory.h"

#include <ATen/ATen.h>
#include <c10/core/CPUAllocator.h>

#include <catch2/catch_test_macros.hpp>
#include <thread>

using namespace muster;

namespace {

constexpr std::int64_t kMiB = 1 << 20;

at::Tensor of_size(std::int64_t bytes) { return at::empty({bytes}, at::kByte); }

// SKIPs under a sanitizer, where the allocator is not used.
void use_or_skip() {
  use_tensor_memory();
  const at::Tensor probe = of_size(2 * kMiB);
  if (tensor_memory_bytes().used == 0) SKIP("a sanitizer watches the C library's memory");
}

}  // namespace

TEST_CASE("a large tensor takes the memory of a freed one of its size, a small one none of it",
          "[unit]") {
  use_or_skip();
  trim_tensor_memory();
  const std::int64_t used = tensor_memory_bytes().used;
  at::Tensor first = of_size(3 * kMiB + 5);
  const void* const place = first.data_ptr();
  REQUIRE(reinterpret_cast<std::uintptr_t>(place) % 64 == 0);
  REQUIRE(tensor_memory_bytes().used - used == 3 * kMiB + (1 << 16));
  first = at::Tensor();
  REQUIRE(tensor_memory_bytes().used == used);
  REQUIRE(tensor_memory_bytes().waiting == 3 * kMiB + (1 << 16));
  const at::Tensor small = of_size(kMiB - 1), larger = of_size(4 * kMiB),
                   much_smaller = of_size(2 * kMiB);
  REQUIRE(tensor_memory_bytes().waiting == 3 * kMiB + (1 << 16));
  const at::Tensor again = at::zeros({3 * kMiB}, at::kByte);
  REQUIRE(again.data_ptr() == place);
  REQUIRE(again.sum().item<std::int64_t>() == 0);
  REQUIRE(tensor_memory_bytes().waiting == 0);
}

TEST_CASE("what waits is bounded, oldest first, and goes back when asked", "[unit]") {
  use_or_skip();
  trim_tensor_memory();
  std::vector<at::Tensor> many{of_size(100 * kMiB)};
  for (int i = 0; i < 30; ++i) many.push_back(of_size((2 + i) * kMiB));
  const void* const last = many.back().data_ptr();
  const std::int64_t most = tensor_memory_bytes().used;
  many.clear();
  const std::int64_t waiting = tensor_memory_bytes().waiting;
  REQUIRE(waiting <= std::max<std::int64_t>(16 * kMiB, most / 16));
  REQUIRE(of_size(31 * kMiB).data_ptr() == last);
  REQUIRE(trim_tensor_memory() == waiting);
  REQUIRE(tensor_memory_bytes().waiting == 0);
}

TEST_CASE("raw memory and threads", "[unit]") {
  use_or_skip();
  const std::int64_t used = tensor_memory_bytes().used;
  for (const std::size_t bytes : {std::size_t{100}, std::size_t{5} << 20}) {
    void* const raw = c10::GetCPUAllocator()->raw_allocate(bytes);
    std::fill_n(static_cast<char*>(raw), bytes, 'x');
    c10::GetCPUAllocator()->raw_deallocate(raw);
  }
  std::vector<std::thread> threads;
  std::atomic<int> wrong = 0;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      for (int i = 0; i < 50; ++i) {
        const at::Tensor mine = at::full({(1 + (i + t) % 5) * kMiB}, t, at::kByte);
        wrong += mine.eq(t).all().item<bool>() ? 0 : 1;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  REQUIRE(wrong == 0);
  REQUIRE(tensor_memory_bytes().used == used);
  REQUIRE_THROWS_AS(of_size(std::int64_t{1} << 50), c10::OutOfMemoryError);
}
