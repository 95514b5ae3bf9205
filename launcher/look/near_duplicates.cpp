#include "launcher/look/near_duplicates.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdlib>
#include <map>
#include <numbers>
#include <unordered_map>

#include "base/disjoint_sets.h"

namespace muster::launcher {
namespace {

constexpr std::size_t kSide = 32;  // of the copy that the frequencies are taken from
constexpr std::size_t kLow = 8;    // frequencies per direction
constexpr double kNoise = 16;      // a frequency that compression alone may give a flat picture
constexpr int kMostBits = 6;
constexpr int kBands = kMostBits + 1;  // hashes that differ in 6 bits agree in one of 7 bands
constexpr int kMostMeanDifference = 6;
constexpr int kMostDifference = 40;  // of one part's colour, of 255

using Copy = std::array<std::array<double, kSide * kSide>, 3>;  // colour, row, column

// A part of a picture, in pixels; it holds at least one.
struct Part {
  std::int64_t first = 0, end = 0;
};

Part part_of(std::int64_t length, std::size_t part) {
  constexpr auto kParts = static_cast<std::int64_t>(kSide);
  const auto at = static_cast<std::int64_t>(part);
  const std::int64_t first = length * at / kParts;
  return {first, std::max(first + 1, length * (at + 1) / kParts)};
}

std::array<double, 3> mean_colour(const data::Image& image, const Part& rows, const Part& columns) {
  std::array<std::int64_t, 3> sum{};
  for (std::int64_t y = rows.first; y < rows.end; ++y) {
    const std::uint8_t* pixel = image.rgb.data() + (y * image.width + columns.first) * 3;
    for (std::int64_t x = columns.first; x < columns.end; ++x, pixel += 3) {
      for (std::size_t c = 0; c < 3; ++c) sum[c] += pixel[c];
    }
  }
  const auto pixels = static_cast<double>((rows.end - rows.first) * (columns.end - columns.first));
  std::array<double, 3> mean{};
  for (std::size_t c = 0; c < 3; ++c) mean[c] = static_cast<double>(sum[c]) / pixels;
  return mean;
}

Copy small_copy(const data::Image& image) {
  Copy copy{};
  for (std::size_t row = 0; row < kSide; ++row) {
    const Part rows = part_of(image.height, row);
    for (std::size_t column = 0; column < kSide; ++column) {
      const std::array<double, 3> mean = mean_colour(image, rows, part_of(image.width, column));
      for (std::size_t c = 0; c < 3; ++c) copy[c][row * kSide + column] = mean[c];
    }
  }
  return copy;
}

std::array<std::uint8_t, 192> tiny_copy(const Copy& copy) {
  constexpr std::size_t kTiny = 8;
  constexpr std::size_t kPart = kSide / kTiny;
  std::array<std::uint8_t, 192> tiny{};
  for (std::size_t i = 0; i < kTiny * kTiny; ++i) {
    for (std::size_t c = 0; c < 3; ++c) {
      double sum = 0;
      for (std::size_t k = 0; k < kPart * kPart; ++k) {
        const std::size_t row = i / kTiny * kPart + k / kPart;
        const std::size_t column = i % kTiny * kPart + k % kPart;
        sum += copy[c][row * kSide + column];
      }
      tiny[3 * i + c] = static_cast<std::uint8_t>(std::lround(sum / (kPart * kPart)));
    }
  }
  return tiny;
}

// cos of the discrete cosine transform (type II), [frequency, place].
const std::array<double, kLow * kSide>& cosines() {
  static const auto table = [] {
    std::array<double, kLow * kSide> made{};
    for (std::size_t f = 0; f < kLow; ++f) {
      for (std::size_t x = 0; x < kSide; ++x) {
        const double angle = (static_cast<double>(x) + 0.5) * static_cast<double>(f) / kSide;
        made[f * kSide + x] = std::cos(std::numbers::pi * angle);
      }
    }
    return made;
  }();
  return table;
}

std::array<double, kLow * kLow> low_frequencies(const Copy& copy) {
  const auto& cosine = cosines();
  std::array<double, kSide * kLow> rows{};  // [row, horizontal frequency]
  for (std::size_t row = 0; row < kSide; ++row) {
    for (std::size_t x = 0; x < kSide; ++x) {
      const std::size_t at = row * kSide + x;
      const double gray = 0.299 * copy[0][at] + 0.587 * copy[1][at] + 0.114 * copy[2][at];
      for (std::size_t f = 0; f < kLow; ++f) rows[row * kLow + f] += gray * cosine[f * kSide + x];
    }
  }
  std::array<double, kLow * kLow> low{};
  for (std::size_t g = 0; g < kLow; ++g) {
    for (std::size_t row = 0; row < kSide; ++row) {
      for (std::size_t f = 0; f < kLow; ++f)
        low[g * kLow + f] += rows[row * kLow + f] * cosine[g * kSide + row];
    }
  }
  return low;
}

// The mean brightness says little and is left out of the median.
std::uint64_t hash_of(const std::array<double, kLow * kLow>& low) {
  std::vector<double> sorted(low.begin() + 1, low.end());
  const auto middle = sorted.begin() + static_cast<std::ptrdiff_t>(sorted.size() / 2);
  std::ranges::nth_element(sorted, middle);
  std::uint64_t hash = 0;
  for (std::size_t i = 1; i < low.size(); ++i) {
    if (low[i] > *middle + kNoise) hash |= std::uint64_t{1} << i;
  }
  return hash;
}

bool tiny_alike(const PictureSketch& a, const PictureSketch& b) {
  int sum = 0;
  for (std::size_t i = 0; i < a.tiny.size(); ++i) {
    const int difference = std::abs(static_cast<int>(a.tiny[i]) - static_cast<int>(b.tiny[i]));
    if (difference > kMostDifference) return false;
    sum += difference;
  }
  return sum <= kMostMeanDifference * static_cast<int>(a.tiny.size());
}

// The sets of more than one picture, each in ascending order.
std::vector<std::vector<std::int64_t>> of_several(DisjointSets& groups) {
  std::map<std::size_t, std::vector<std::int64_t>> by_root;
  for (std::size_t i = 0; i < groups.size(); ++i)
    by_root[groups.root(i)].push_back(static_cast<std::int64_t>(i));
  std::vector<std::vector<std::int64_t>> several;
  for (auto& [first, members] : by_root)
    if (members.size() > 1) several.push_back(std::move(members));
  return several;
}

using Buckets = std::unordered_map<std::uint64_t, std::vector<std::size_t>>;

// One of each look stands for all that equal it, so that a thousand copies of one picture, or a
// thousand empty ones, cost a thousand comparisons.
std::vector<std::size_t> representatives(std::span<const PictureSketch> sketches,
                                         DisjointSets& groups) {
  constexpr std::size_t kMostLooksPerHash = 64;  // flat pictures of many colours share one hash
  Buckets by_hash;
  std::vector<std::size_t> chosen;
  for (std::size_t i = 0; i < sketches.size(); ++i) {
    if (!sketches[i].known) continue;
    std::vector<std::size_t>& looks = by_hash[sketches[i].hash];
    const auto same = std::ranges::find_if(
        looks, [&](std::size_t other) { return tiny_alike(sketches[i], sketches[other]); });
    if (same != looks.end()) {
      groups.join(*same, i);
    } else if (looks.size() < kMostLooksPerHash) {
      looks.push_back(i);
      chosen.push_back(i);
    }
  }
  return chosen;
}

std::uint64_t band_of(std::uint64_t hash, int band) {
  const int first = 64 * band / kBands;
  const int bits = 64 * (band + 1) / kBands - first;
  return hash >> first & ((std::uint64_t{1} << bits) - 1);
}

void join_alike(std::span<const PictureSketch> sketches, const std::vector<std::size_t>& bucket,
                DisjointSets& groups) {
  for (std::size_t a = 0; a < bucket.size(); ++a) {
    const PictureSketch& one = sketches[bucket[a]];
    for (std::size_t b = a + 1; b < bucket.size(); ++b) {
      const PictureSketch& other = sketches[bucket[b]];
      if (std::popcount(one.hash ^ other.hash) > kMostBits || !tiny_alike(one, other)) continue;
      groups.join(bucket[a], bucket[b]);
    }
  }
}

}  // namespace

PictureSketch sketch(const data::Image& image) {
  const Copy copy = small_copy(image);
  return {.hash = hash_of(low_frequencies(copy)), .tiny = tiny_copy(copy), .known = true};
}

std::vector<std::vector<std::int64_t>> near_duplicates(std::span<const PictureSketch> sketches) {
  DisjointSets groups(sketches.size());
  const std::vector<std::size_t> chosen = representatives(sketches, groups);
  for (int band = 0; band < kBands; ++band) {
    Buckets buckets;
    for (const std::size_t i : chosen) buckets[band_of(sketches[i].hash, band)].push_back(i);
    for (const auto& [bits, bucket] : buckets) join_alike(sketches, bucket, groups);
  }
  return of_several(groups);
}

}  // namespace muster::launcher
