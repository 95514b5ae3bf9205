// A weight of 22 bits after the point is 15 low bits and a signed rest, and a picture's samples fit
// 16 bits: one instruction multiplies pairs of both and adds the two products. The two sums, the
// rest's shifted, are the sum of the products with the whole weights, to the bit.
#include <algorithm>
#include <array>
#include <cstdint>
#include <cstring>
#include <vector>

#include "data/images/resample.h"

#include "base/vectorize.h"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace muster::data {

#if defined(__x86_64__)
namespace {

constexpr std::int64_t kQuad = 4;   // taps that one step adds
constexpr std::int64_t kGroup = 4;  // output pixels that are written together
constexpr std::int64_t kLoad = 16;  // bytes read for a step
constexpr int kLowBits = 15;
constexpr std::int64_t kColumns = 32;  // that are added at once

// Four weights for the sums of one pixel: w0 w1 w0 w1 w0 w1 0 0, then w2 w3 likewise.
struct alignas(32) Factors {
  std::array<std::int16_t, 16> low{}, high{};
};

// Output pixels in groups; those behind the last have weights of 0.
struct RowPlan {
  std::int64_t quads = 0;
  std::vector<std::int64_t> begin;  // [groups, kGroup]: first byte of a row that counts
  std::vector<Factors> factors;     // [groups, quads, kGroup]
  std::int64_t reach = 0;           // bytes of a row, from its begin, that are read
};

void set_weight(Factors& factors, std::int64_t tap, std::int32_t weight) {
  const std::int64_t begin = tap / 2 * 8 + tap % 2;
  for (std::int64_t c = 0; c < 3; ++c) {
    factors.low[begin + 2 * c] = static_cast<std::int16_t>(weight & ((1 << kLowBits) - 1));
    factors.high[begin + 2 * c] = static_cast<std::int16_t>(weight >> kLowBits);
  }
}

RowPlan plan_rows(const ResampleWeights& weights) {
  const std::int64_t groups = (weights.size() + kGroup - 1) / kGroup;
  RowPlan plan;
  plan.quads = (weights.taps + kQuad - 1) / kQuad;
  plan.begin.assign(static_cast<std::size_t>(groups * kGroup), 3 * weights.first.back());
  plan.factors.resize(static_cast<std::size_t>(groups * plan.quads * kGroup));
  for (std::int64_t i = 0; i < weights.size(); ++i) {
    plan.begin[i] = 3 * weights.first[i];
    Factors* group = &plan.factors[i / kGroup * plan.quads * kGroup];
    for (std::int64_t k = 0; k < weights.taps; ++k)
      set_weight(group[k / kQuad * kGroup + i % kGroup], k % kQuad,
                 weights.fixed[i * weights.taps + k]);
  }
  plan.reach = 3 * (weights.first.back() + kQuad * (plan.quads - 1)) + kLoad;
  return plan;
}

using Words [[gnu::vector_size(32)]] = std::int32_t;

MUSTER_AVX2 MUSTER_INLINE __m256i aligned(const std::array<std::int16_t, 16>& words) {
  return _mm256_load_si256(reinterpret_cast<const __m256i*>(words.data()));
}

// Both halves of a pixel's sums added, for two pixels, and rounded: -512 to 511 before they are
// clipped. The fourth and eighth are 0.
MUSTER_AVX2 MUSTER_INLINE __m256i fold(Words a, Words b) {
  const Words sums = __builtin_shufflevector(a, b, 0, 1, 2, 3, 8, 9, 10, 11) +
                     __builtin_shufflevector(a, b, 4, 5, 6, 7, 12, 13, 14, 15);
  return reinterpret_cast<__m256i>((sums + kHalf) >> kPrecisionBits);
}

// Writes 16 bytes, of which the last four belong to the next group.
MUSTER_AVX2 MUSTER_INLINE void sum_group(const std::uint8_t* row, const std::int64_t* begin,
                                         const Factors* factors, std::int64_t quads,
                                         std::uint8_t* out) {
  // Channel by channel the bytes of two neighbours, widened: taps 0 and 1, then taps 2 and 3.
  const __m256i pairs =
      _mm256_setr_epi8(0, -1, 3, -1, 1, -1, 4, -1, 2, -1, 5, -1, -1, -1, -1, -1, 6, -1, 9, -1, 7,
                       -1, 10, -1, 8, -1, 11, -1, -1, -1, -1, -1);
  Words low[kGroup] = {}, high[kGroup] = {};
  for (std::int64_t q = 0; q < quads; ++q, row += 3 * kQuad, factors += kGroup) {
    for (std::int64_t j = 0; j < kGroup; ++j) {
      const __m128i bytes = _mm_loadu_si128(reinterpret_cast<const __m128i*>(row + begin[j]));
      const __m256i taps = _mm256_shuffle_epi8(_mm256_broadcastsi128_si256(bytes), pairs);
      low[j] += reinterpret_cast<Words>(_mm256_madd_epi16(taps, aligned(factors[j].low)));
      high[j] += reinterpret_cast<Words>(_mm256_madd_epi16(taps, aligned(factors[j].high)));
    }
  }
  for (std::int64_t j = 0; j < kGroup; ++j) low[j] += high[j] << kLowBits;
  // Pixels 0 and 2, then 1 and 3; a fourth byte goes with each.
  const __m256i words = _mm256_packs_epi32(fold(low[0], low[1]), fold(low[2], low[3]));
  const __m256i bytes = _mm256_packus_epi16(words, words);
  const __m128i four =
      _mm_unpacklo_epi32(_mm256_castsi256_si128(bytes), _mm256_extracti128_si256(bytes, 1));
  const __m128i pixels = _mm_setr_epi8(0, 1, 2, 4, 5, 6, 8, 9, 10, 12, 13, 14, -1, -1, -1, -1);
  _mm_storeu_si128(reinterpret_cast<__m128i*>(out), _mm_shuffle_epi8(four, pixels));
}

// The groups that end well within the row are written in place: what one writes too much, the next
// one overwrites.
MUSTER_AVX2 void sum_row(const std::uint8_t* row, std::int64_t width, const RowPlan& plan,
                         std::uint8_t* out) {
  const std::int64_t* begin = plan.begin.data();
  const Factors* factors = plan.factors.data();
  const std::int64_t quads = plan.quads;
  std::int64_t left = width;
  for (; left >= kGroup + 2; left -= kGroup, begin += kGroup, out += 3 * kGroup) {
    sum_group(row, begin, factors, quads, out);
    factors += quads * kGroup;
  }
  for (; left > 0; left -= kGroup, begin += kGroup, out += 3 * kGroup) {
    std::uint8_t end[16];
    sum_group(row, begin, factors, quads, end);
    std::memcpy(out, end, static_cast<std::size_t>(3 * std::min(kGroup, left)));
    factors += quads * kGroup;
  }
}

// A pair of weights for every sum of a register.
struct PairFactors {
  std::int32_t low = 0, high = 0;
};

PairFactors pair_of(std::int32_t first, std::int32_t second) {
  constexpr std::int32_t kLow = (1 << kLowBits) - 1;
  const auto both = [](std::int32_t a, std::int32_t b) {
    return static_cast<std::int32_t>(static_cast<std::uint32_t>(a & 0xFFFF) |
                                     static_cast<std::uint32_t>(b) << 16);
  };
  return {both(first & kLow, second & kLow), both(first >> kLowBits, second >> kLowBits)};
}

// Sums of 32 columns: four registers, each of four neighbouring columns of both of its halves.
struct ColumnSums {
  Words low[4] = {}, high[4] = {};

  MUSTER_AVX2 MUSTER_INLINE void add(const std::uint8_t* a, const std::uint8_t* b,
                                     PairFactors factors) {
    const __m256i of_low = _mm256_set1_epi32(factors.low);
    const __m256i of_high = _mm256_set1_epi32(factors.high);
    const __m256i first = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(a));
    const __m256i second = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(b));
    const __m256i front = _mm256_unpacklo_epi8(first, second), zero = _mm256_setzero_si256();
    const __m256i back = _mm256_unpackhi_epi8(first, second);
    const __m256i taps[4] = {_mm256_unpacklo_epi8(front, zero), _mm256_unpackhi_epi8(front, zero),
                             _mm256_unpacklo_epi8(back, zero), _mm256_unpackhi_epi8(back, zero)};
    for (int i = 0; i < 4; ++i) {
      low[i] += reinterpret_cast<Words>(_mm256_madd_epi16(taps[i], of_low));
      high[i] += reinterpret_cast<Words>(_mm256_madd_epi16(taps[i], of_high));
    }
  }

  MUSTER_AVX2 MUSTER_INLINE __m256i rounded(int i) const {
    return reinterpret_cast<__m256i>((low[i] + (high[i] << kLowBits) + kHalf) >> kPrecisionBits);
  }
  MUSTER_AVX2 MUSTER_INLINE void store(std::uint8_t* out) const {
    const __m256i front = _mm256_packs_epi32(rounded(0), rounded(1));
    const __m256i back = _mm256_packs_epi32(rounded(2), rounded(3));
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(out), _mm256_packus_epi16(front, back));
  }
};

// One output row. The last block begins where it ends with the row, and gives some columns again.
MUSTER_AVX2 void sum_columns(const std::uint8_t* in, std::int64_t stride,
                             const std::vector<PairFactors>& pairs, std::int64_t count,
                             std::uint8_t* out) {
  for (std::int64_t block = 0; block < stride; block += kColumns) {
    const std::int64_t at = std::min(block, stride - kColumns);
    ColumnSums sums;
    const std::uint8_t* row = in + at;
    for (std::int64_t k = 0; k < count; k += 2, row += 2 * stride)
      sums.add(row, k + 1 < count ? row + stride : row, pairs[static_cast<std::size_t>(k / 2)]);
    sums.store(out + at);
  }
}

}  // namespace

bool resample_columns_avx2(const Raster& in, const ResampleWeights& weights, std::uint8_t* out) {
  const std::int64_t stride = in.stride();
  if (stride < kColumns) return false;
  std::vector<PairFactors> pairs(static_cast<std::size_t>((weights.taps + 1) / 2));
  for (std::int64_t y = 0; y < weights.size(); ++y, out += stride) {
    const std::int32_t* fixed = &weights.fixed[y * weights.taps];
    const std::int64_t count = weights.count[y];
    for (std::int64_t k = 0; k < count; k += 2)
      pairs[k / 2] = pair_of(fixed[k], k + 1 < count ? fixed[k + 1] : 0);
    sum_columns(in.rgb + weights.first[y] * stride, stride, pairs, count, out);
  }
  return true;
}

// The last rows are copied to where reading behind their end is harmless.
void resample_rows_avx2(const Raster& in, const ResampleWeights& weights, std::uint8_t* out) {
  const RowPlan plan = plan_rows(weights);
  const std::int64_t stride = in.stride(), bytes = in.height * stride;
  std::vector<std::uint8_t> copy(static_cast<std::size_t>(std::max(stride, plan.reach)));
  for (std::int64_t y = 0; y < in.height; ++y, out += 3 * weights.size()) {
    const std::uint8_t* row = in.rgb + y * stride;
    if (y * stride + plan.reach > bytes) {
      std::memcpy(copy.data(), row, static_cast<std::size_t>(stride));
      row = copy.data();
    }
    sum_row(row, weights.size(), plan, out);
  }
}

#else

void resample_rows_avx2(const Raster&, const ResampleWeights&, std::uint8_t*) {}
bool resample_columns_avx2(const Raster&, const ResampleWeights&, std::uint8_t*) { return false; }

#endif

}  // namespace muster::data
