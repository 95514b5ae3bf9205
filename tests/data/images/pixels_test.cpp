#include "data/images/pixels.h"

#include <catch2/catch_test_macros.hpp>

#include <functional>
#include <thread>
#include <utility>
#include <vector>

namespace muster::data {
namespace {

// A thread of its own, which has kept nothing yet.
void on_new_thread(const std::function<void()>& body) { std::thread(body).join(); }

void pass_memory_on() {
  const std::uint8_t* first = nullptr;
  {
    Pixels pixels = Pixels::to_write(1 << 20);
    CHECK(pixels.size() == 1 << 20);
    first = pixels.data();
  }
  {
    const Pixels smaller = Pixels::to_write(1 << 19);
    CHECK(smaller.size() == 1 << 19);
    CHECK(smaller.data() == first);
    const Pixels other = Pixels::to_write(1 << 19);  // of its own: the first is in use
    CHECK(other.data() != first);
  }
  const Pixels larger = Pixels::to_write(3 << 20);
  CHECK(larger.size() == 3 << 20);
}

TEST_CASE("pixels: memory goes from one picture to the next, with the size that is asked for",
          "[unit]") {
  on_new_thread(pass_memory_on);
}

TEST_CASE("pixels: a thread keeps a bounded amount, and its own", "[unit]") {
  on_new_thread([] {
    const std::uint8_t* kept = nullptr;
    {
      std::vector<Pixels> many;
      for (int i = 0; i < 10; ++i) many.push_back(Pixels::to_write(10 << 20));
      kept = many.front().data();
    }
    CHECK(Pixels::to_write(10 << 20).data() == kept);  // three of them stayed, this one first
    const Pixels huge = Pixels::to_write(64 << 20);
    CHECK(huge.size() == 64 << 20);
  });
}

TEST_CASE("pixels: copies and moves are those of a vector", "[unit]") {
  Pixels a = std::vector<std::uint8_t>{1, 2, 3};
  const Pixels copy = a;
  CHECK(copy == a);
  const Pixels moved = std::move(a);
  CHECK(moved == copy);
  Pixels assigned;
  assigned = copy;
  CHECK(assigned == std::vector<std::uint8_t>{1, 2, 3});
}

}  // namespace
}  // namespace muster::data
