#include "base/hdf5/fletcher32.h"

#include <algorithm>
#include <catch2/catch_test_macros.hpp>
#include <vector>

#include "base/rng.h"

using namespace muster;

namespace {

// Word by word, as HDF5 does it: big-endian, carries added below.
std::uint32_t slow_fletcher32(std::span<const std::byte> bytes) {
  const auto folded = [](std::uint64_t sum) { return (sum & 0xffffU) + (sum >> 16U); };
  std::uint64_t plain = 0;
  std::uint64_t weighted = 0;
  for (std::size_t i = 0; i < bytes.size(); i += 2) {
    const auto high = static_cast<std::uint64_t>(bytes[i]);
    const auto low = i + 1 < bytes.size() ? static_cast<std::uint64_t>(bytes[i + 1]) : 0;
    plain = folded(plain + (high << 8U) + low);
    weighted = folded(weighted + plain);
  }
  return static_cast<std::uint32_t>(weighted << 16U | plain);
}

}  // namespace

TEST_CASE("fletcher32: the sums of any length", "[unit]") {
  Rng random(3);
  for (const std::size_t size : {0, 1, 2, 3, 31, 32, 33, 64, 11'519, 11'520, 11'521, 262'144}) {
    std::vector<std::byte> bytes(size);
    for (std::byte& byte : bytes) byte = static_cast<std::byte>(random.next());
    CAPTURE(size);
    CHECK(fletcher32(bytes) == slow_fletcher32(bytes));
    for (const std::byte all : {std::byte{0xff}, std::byte{0}}) {  // the largest sums, and none
      std::ranges::fill(bytes, all);
      CHECK(fletcher32(bytes) == slow_fletcher32(bytes));
    }
  }
  std::vector<std::byte> bytes(100'000, std::byte{7});
  const std::uint32_t before = fletcher32(bytes);
  bytes[77'777] ^= std::byte{16};
  CHECK(fletcher32(bytes) != before);
}
