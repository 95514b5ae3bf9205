#include "base/tensors/tensor_memory.h"

#include <ATen/ATen.h>
#include <c10/core/CPUAllocator.h>
#include <sys/resource.h>

#include <algorithm>
#include <catch2/catch_test_macros.hpp>
#include <thread>

using namespace muster;

namespace {

constexpr std::int64_t kMiB = 1 << 20, kGranule = 1 << 14;

at::Tensor of_size(std::int64_t bytes) { return at::empty({bytes}, at::kByte); }

// SKIPs under a sanitizer, where the allocator is not used.
void use_or_skip() {
  use_tensor_memory();
  const at::Tensor probe = of_size(2 * kMiB);
  if (tensor_memory_bytes().used == 0) SKIP("a sanitizer watches the C library's memory");
}

}  // namespace

TEST_CASE("a large tensor takes the memory of freed ones, a small one none of it", "[unit]") {
  use_or_skip();
  trim_tensor_memory();
  const std::int64_t used = tensor_memory_bytes().used;
  at::Tensor first = of_size(3 * kMiB + 5);
  char* const place = static_cast<char*>(first.data_ptr());
  REQUIRE(reinterpret_cast<std::uintptr_t>(place) % 64 == 0);
  REQUIRE(tensor_memory_bytes().used - used == 3 * kMiB + kGranule);
  first = at::Tensor();
  REQUIRE(tensor_memory_bytes().used == used);
  REQUIRE(tensor_memory_bytes().waiting == 3 * kMiB + kGranule);
  const at::Tensor small = of_size((1 << 17) - 1), larger = of_size(4 * kMiB);
  REQUIRE(tensor_memory_bytes().waiting == 3 * kMiB + kGranule);
  at::Tensor two = at::zeros({2 * kMiB}, at::kByte);
  REQUIRE(two.data_ptr() == place);
  REQUIRE(std::all_of(place, place + 2 * kMiB, [](char x) { return x == 0; }));
  REQUIRE(tensor_memory_bytes().waiting == kMiB + kGranule);
  at::Tensor one = of_size(kMiB);
  REQUIRE(one.data_ptr() == place + 2 * kMiB);
  // Neighbours are one again, in either order.
  one = at::Tensor();
  two = at::Tensor();
  REQUIRE(of_size(3 * kMiB).data_ptr() == place);
}

TEST_CASE("what waits and what is used are no more than was used at once", "[unit]") {
  use_or_skip();
  trim_tensor_memory();
  std::vector<at::Tensor> many{of_size(100 * kMiB)};
  for (int i = 0; i < 30; ++i) many.push_back(of_size((2 + i) * kMiB));
  const std::int64_t most = tensor_memory_bytes().used;
  const auto within = [&] {
    const TensorMemoryBytes now = tensor_memory_bytes();
    return now.used + now.waiting <= most + std::max<std::int64_t>(4 * kMiB, most / 64);
  };
  // Tensors of other sizes, which do not fit what was freed.
  for (int i = 0; i < 200; ++i) {
    many[static_cast<std::size_t>(i) % many.size()] = at::Tensor();
    many[static_cast<std::size_t>(i) % many.size()] = of_size((1 + i * 7 % 23) * kMiB);
    REQUIRE(within());
  }
  many.clear();
  REQUIRE(within());
  const std::int64_t waiting = tensor_memory_bytes().waiting;
  REQUIRE(waiting >= most / 2);
  REQUIRE(trim_tensor_memory() == waiting);
  REQUIRE(tensor_memory_bytes().waiting == 0);
}

// Faults of a step that does what the one before it did.
TEST_CASE("a second step faults nothing in", "[unit]") {
  use_or_skip();
  trim_tensor_memory();
  const auto faults = [] {
    rusage usage{};
    ::getrusage(RUSAGE_SELF, &usage);
    return usage.ru_minflt;
  };
  // The C library would keep the second kind in its heap and trim that.
  for (const auto& [tensors, least] : {std::pair{12, 3 * kMiB}, {200, kMiB / 4}}) {
    const auto step = [&] {
      std::vector<at::Tensor> kept;
      for (int i = 0; i < tensors; ++i)
        kept.push_back(at::ones({least + i % 5 * least / 3}, at::kByte));
    };
    step();
    const long before = faults();
    step();
    REQUIRE(faults() - before < tensors * least / 4096 / 20);
  }
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
