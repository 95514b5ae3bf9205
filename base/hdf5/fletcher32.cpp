#include "base/hdf5/fletcher32.h"

#include <algorithm>
#include <cstring>

namespace muster {
namespace {

constexpr std::uint64_t kModulus = 65535;
constexpr std::size_t kLanes = 16;  // words that are added at once
// With more rows a lane's weighted sum might not fit 32 bits: 360 * 361 / 2 * 65,535 < 2^32.
constexpr std::size_t kRows = 360;

using Words [[gnu::vector_size(kLanes * sizeof(std::uint16_t))]] = std::uint16_t;
using Lanes [[gnu::vector_size(kLanes * sizeof(std::uint32_t))]] = std::uint32_t;

// Of the words so far: their sum, and the sum of that after each word. Words are little-endian.
struct Sums {
  std::uint64_t plain = 0, weighted = 0;  // modulo kModulus
  bool any = false;                       // a word was not 0

  void add(std::uint64_t word) {
    any |= word != 0;
    plain = (plain + word) % kModulus;
    weighted = (weighted + plain) % kModulus;
  }
};

std::uint16_t word_at(const std::byte* bytes) {
  std::uint16_t word = 0;
  std::memcpy(&word, bytes, sizeof word);
  return word;
}

// Word i of `rows * kLanes` counts as often as there are words from it to the end, so lane by lane:
// kLanes * (rows from its row on) - its lane.
void add_rows(Sums& sums, const std::byte* bytes, std::size_t rows) {
  Lanes plain{}, weighted{};
  for (std::size_t row = 0; row < rows; ++row) {
    Words words;
    std::memcpy(&words, bytes + row * sizeof words, sizeof words);
    plain += __builtin_convertvector(words, Lanes);
    weighted += plain;
  }
  std::uint64_t sum = 0;
  std::uint64_t weighted_sum = 0;
  for (std::size_t lane = 0; lane < kLanes; ++lane) {
    sum += plain[lane];
    weighted_sum += kLanes * std::uint64_t{weighted[lane]} - lane * std::uint64_t{plain[lane]};
  }
  sums.any |= sum != 0;
  sums.weighted = (sums.weighted + rows * kLanes * sums.plain + weighted_sum) % kModulus;
  sums.plain = (sums.plain + sum) % kModulus;
}

}  // namespace

// HDF5 adds big-endian words. Modulo 65,535 a word with its bytes swapped is 256 times the word,
// and so are sums of such words. Of sums that are no real zero it keeps 65,535 for 0.
std::uint32_t fletcher32(std::span<const std::byte> bytes) {
  constexpr std::size_t kRow = kLanes * sizeof(std::uint16_t);
  Sums sums;
  while (bytes.size() >= kRow) {
    const std::size_t rows = std::min(bytes.size() / kRow, kRows);
    add_rows(sums, bytes.data(), rows);
    bytes = bytes.subspan(rows * kRow);
  }
  for (; bytes.size() >= 2; bytes = bytes.subspan(2)) sums.add(word_at(bytes.data()));
  if (!bytes.empty()) sums.add(static_cast<std::uint64_t>(bytes[0]));
  const auto half = [&](std::uint64_t sum) {
    constexpr std::uint64_t kSwapped = 256;
    const std::uint64_t rest = kSwapped * sum % kModulus;
    return rest == 0 && sums.any ? kModulus : rest;
  };
  return static_cast<std::uint32_t>(half(sums.weighted) << 16U | half(sums.plain));
}

}  // namespace muster
