// A weight of 22 bits after the point is three signed bytes, and a picture's samples are unsigned
// bytes: VNNI multiplies four pairs of them and adds the products to a 32-bit sum in one step. The
// three sums, shifted and added, are the sum of the products with the whole weights, to the bit.
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

#define MUSTER_BYTES __attribute__((target("avx512f,avx512bw,avx512vl,avx512vbmi,avx512vnni")))
#define MUSTER_BYTES_INLINE MUSTER_BYTES __attribute__((always_inline)) inline

// The forms of intrinsics with a mask are those for which g++ 12 does not warn of its own headers.
constexpr __mmask64 kAllBytes = ~__mmask64{0};
constexpr __mmask16 kAllLanes = 0xFFFF;

constexpr std::int64_t kQuad = 4;                 // taps that one step adds
constexpr std::int64_t kBytes = 64;               // of a register
constexpr std::int64_t kRowsAtOnce = 4;           // that share a group's weights
constexpr std::int64_t kGroup = 5;                // pixels: 15 of the 16 sums of a register
constexpr std::int64_t kDigits = 3;               // bytes of a weight
using Digits = std::array<std::int8_t, kDigits>;  // least first

// False when the weight takes more than three bytes.
bool split(std::int32_t weight, Digits& digits) {
  for (std::int8_t& digit : digits) {
    digit = static_cast<std::int8_t>(weight);
    weight = (weight - digit) / 256;
  }
  return weight == 0;
}

std::int64_t quads_of(const ResampleWeights& weights) { return (weights.taps + kQuad - 1) / kQuad; }

// What the sums of a register are multiplied with: the digits of four weights, per sum.
struct alignas(kBytes) Factors {
  std::array<std::int8_t, kBytes> digit[kDigits];
};

MUSTER_BYTES_INLINE __m512i load(const void* at) { return _mm512_loadu_si512(at); }

using Lanes [[gnu::vector_size(kBytes)]] = std::int32_t;

struct Sums {
  __m512i digit[kDigits];
};

MUSTER_BYTES_INLINE Sums no_sums() {
  return {{_mm512_setzero_si512(), _mm512_setzero_si512(), _mm512_setzero_si512()}};
}

// The sums of whole weights, rounded: -512 to 511 before they are clipped to a byte.
MUSTER_BYTES_INLINE __m512i rounded(const Sums& sums) {
  const auto low = reinterpret_cast<Lanes>(sums.digit[0]);
  const auto middle = reinterpret_cast<Lanes>(sums.digit[1]);
  const auto high = reinterpret_cast<Lanes>(sums.digit[2]);
  return reinterpret_cast<__m512i>((low + (middle << 8) + (high << 16) + kHalf) >> kPrecisionBits);
}

// Groups of output pixels of a row. Sum 3 j + c of a group is channel c of its pixel j.
struct RowPlan {
  std::int64_t quads = 0;
  std::vector<std::int64_t> first;                       // [groups] input pixel
  std::vector<std::array<std::uint8_t, kBytes>> picked;  // [groups] bytes after it, per tap
  std::vector<Factors> factors;                          // [groups, quads]
  std::int64_t reach = 0;  // bytes of a row, from its begin, that are read
};

// Where the bytes of a group's first four taps lie behind its first pixel. False when not all are
// within one register.
bool pick(const ResampleWeights& weights, std::int64_t begin, std::int64_t count,
          std::array<std::uint8_t, kBytes>& picked) {
  picked.fill(0);
  for (std::int64_t j = 0; j < count; ++j) {
    const std::int64_t ahead = weights.first[begin + j] - weights.first[begin];
    if (3 * (ahead + kQuad) > kBytes) return false;
    for (std::int64_t c = 0; c < 3; ++c)
      for (std::int64_t k = 0; k < kQuad; ++k)
        picked[(3 * j + c) * kQuad + k] = static_cast<std::uint8_t>(3 * (ahead + k) + c);
  }
  return true;
}

bool row_factors(const ResampleWeights& weights, std::int64_t begin, std::int64_t count,
                 std::int64_t quad, Factors& factors) {
  for (auto& digit : factors.digit) digit.fill(0);
  for (std::int64_t j = 0; j < count; ++j)
    for (std::int64_t k = 0; k < std::min(kQuad, weights.taps - kQuad * quad); ++k) {
      Digits digits{};
      if (!split(weights.fixed[(begin + j) * weights.taps + kQuad * quad + k], digits))
        return false;
      for (std::int64_t d = 0; d < kDigits; ++d)
        for (std::int64_t c = 0; c < 3; ++c) factors.digit[d][(3 * j + c) * kQuad + k] = digits[d];
    }
  return true;
}

bool plan_rows(const ResampleWeights& weights, RowPlan& plan) {
  plan.quads = quads_of(weights);
  const std::int64_t groups = (weights.size() + kGroup - 1) / kGroup;
  plan.picked.resize(groups);
  plan.factors.resize(groups * plan.quads);
  for (std::int64_t g = 0; g < groups; ++g) {
    const std::int64_t begin = g * kGroup;
    const std::int64_t count = std::min(kGroup, weights.size() - begin);
    plan.first.push_back(weights.first[begin]);
    if (!pick(weights, begin, count, plan.picked[g])) return false;
    for (std::int64_t q = 0; q < plan.quads; ++q)
      if (!row_factors(weights, begin, count, q, plan.factors[g * plan.quads + q])) return false;
  }
  plan.reach = 3 * (plan.first.back() + kQuad * (plan.quads - 1)) + kBytes;
  return true;
}

// Writes 16 bytes to each of `out`, of which the last belongs to the next group.
MUSTER_BYTES_INLINE void sum_group(const std::array<const std::uint8_t*, kRowsAtOnce>& rows,
                                   const RowPlan& plan, std::int64_t group,
                                   const std::array<std::uint8_t*, kRowsAtOnce>& out) {
  const __m512i picked = load(plan.picked[group].data());
  const Factors* factors = &plan.factors[group * plan.quads];
  Sums sums[kRowsAtOnce];
  for (Sums& sum : sums) sum = no_sums();
  std::int64_t at = 3 * plan.first[group];
  for (std::int64_t q = 0; q < plan.quads; ++q, at += 3 * kQuad) {
    for (std::int64_t r = 0; r < kRowsAtOnce; ++r) {
      const __m512i taps = _mm512_maskz_permutexvar_epi8(kAllBytes, picked, load(rows[r] + at));
      for (std::int64_t d = 0; d < kDigits; ++d)
        sums[r].digit[d] =
            _mm512_dpbusd_epi32(sums[r].digit[d], taps, load(factors[q].digit[d].data()));
    }
  }
  for (std::int64_t r = 0; r < kRowsAtOnce; ++r) {
    const __m512i sum = rounded(sums[r]);
    const __m512i positive = _mm512_maskz_max_epi32(kAllLanes, sum, _mm512_setzero_si512());
    const __m128i bytes = _mm512_maskz_cvtusepi32_epi8(kAllLanes, positive);
    _mm_storeu_si128(reinterpret_cast<__m128i*>(out[r]), bytes);
  }
}

MUSTER_BYTES void sum_rows(const std::array<const std::uint8_t*, kRowsAtOnce>& rows,
                           const RowPlan& plan, std::int64_t out_pixels,
                           std::array<std::uint8_t*, kRowsAtOnce> out) {
  const auto last = static_cast<std::int64_t>(plan.first.size()) - 1;
  for (std::int64_t g = 0; g < last; ++g) {
    sum_group(rows, plan, g, out);
    for (std::uint8_t*& to : out) to += 3 * kGroup;
  }
  std::uint8_t ends[kRowsAtOnce][16];
  sum_group(rows, plan, last, {ends[0], ends[1], ends[2], ends[3]});
  const auto bytes = static_cast<std::size_t>(3 * (out_pixels - kGroup * last));
  for (std::int64_t r = 0; r < kRowsAtOnce; ++r) std::memcpy(out[r], ends[r], bytes);
}

// Weights of an output row, the same for all of its sums.
struct ColumnPlan {
  std::int64_t quads = 0;
  std::vector<std::array<std::int32_t, kDigits>> factors;  // [out, quads]: four bytes each
};

bool plan_columns(const ResampleWeights& weights, ColumnPlan& plan) {
  plan.quads = quads_of(weights);
  plan.factors.resize(weights.size() * plan.quads);
  for (std::int64_t i = 0; i < weights.size(); ++i)
    for (std::int64_t k = 0; k < weights.taps; ++k) {
      Digits digits{};
      if (!split(weights.fixed[i * weights.taps + k], digits)) return false;
      auto& factors = plan.factors[i * plan.quads + k / kQuad];
      for (std::int64_t d = 0; d < kDigits; ++d)
        reinterpret_cast<std::int8_t*>(&factors[d])[k % kQuad] = digits[d];
    }
  return true;
}

// Adds four rows' bytes from `at` to the sums of 64 columns. Sum block b of a register's quarter
// holds four neighbouring columns of it.
MUSTER_BYTES_INLINE void add_quad(const std::array<const std::uint8_t*, kQuad>& rows,
                                  std::int64_t at, const std::array<std::int32_t, kDigits>& factors,
                                  Sums (&sums)[4]) {
  const __m512i a = load(rows[0] + at), b = load(rows[1] + at);
  const __m512i c = load(rows[2] + at), d = load(rows[3] + at);
  const __m512i ab_low = _mm512_unpacklo_epi8(a, b), ab_high = _mm512_unpackhi_epi8(a, b);
  const __m512i cd_low = _mm512_unpacklo_epi8(c, d), cd_high = _mm512_unpackhi_epi8(c, d);
  const __m512i taps[4] = {
      _mm512_unpacklo_epi16(ab_low, cd_low), _mm512_unpackhi_epi16(ab_low, cd_low),
      _mm512_unpacklo_epi16(ab_high, cd_high), _mm512_unpackhi_epi16(ab_high, cd_high)};
  for (std::int64_t i = 0; i < kDigits; ++i) {
    const __m512i factor = _mm512_set1_epi32(factors[i]);
    for (int block = 0; block < 4; ++block)
      sums[block].digit[i] = _mm512_dpbusd_epi32(sums[block].digit[i], taps[block], factor);
  }
}

// One output row. REQUIRES a stride of kBytes or more. The last block begins where it ends with the
// row, and gives some columns again.
MUSTER_BYTES void sum_columns(const Raster& in, std::int64_t first,
                              const std::array<std::int32_t, kDigits>* factors, std::int64_t quads,
                              std::uint8_t* out) {
  const std::int64_t stride = in.stride();
  for (std::int64_t block = 0; block < stride; block += kBytes) {
    const std::int64_t at = std::min(block, stride - kBytes);
    Sums sums[4] = {no_sums(), no_sums(), no_sums(), no_sums()};
    for (std::int64_t q = 0; q < quads; ++q) {
      std::array<const std::uint8_t*, kQuad> rows;
      for (std::int64_t k = 0; k < kQuad; ++k)  // those below the picture have weight 0
        rows[k] = in.rgb + std::min(first + kQuad * q + k, in.height - 1) * stride;
      add_quad(rows, at, factors[q], sums);
    }
    const __m512i low = _mm512_packs_epi32(rounded(sums[0]), rounded(sums[1]));
    const __m512i high = _mm512_packs_epi32(rounded(sums[2]), rounded(sums[3]));
    _mm512_storeu_si512(out + at, _mm512_packus_epi16(low, high));
  }
}

}  // namespace

bool has_byte_products() {
  static const bool has =
      __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl") &&
      __builtin_cpu_supports("avx512vbmi") && __builtin_cpu_supports("avx512vnni");
  return has;
}

// The last rows are copied to where reading behind their end is harmless.
bool resample_rows_avx512(const Raster& in, const ResampleWeights& weights, std::uint8_t* out) {
  RowPlan plan;
  if (!plan_rows(weights, plan)) return false;
  const std::int64_t stride = in.stride(), out_stride = 3 * weights.size();
  const std::int64_t bytes = in.height * stride;
  const std::int64_t room = std::max(stride, plan.reach);
  std::vector<std::uint8_t> copies(kRowsAtOnce * room), unused(out_stride);
  for (std::int64_t y = 0; y < in.height; y += kRowsAtOnce) {
    std::array<const std::uint8_t*, kRowsAtOnce> rows;
    std::array<std::uint8_t*, kRowsAtOnce> to;
    for (std::int64_t r = 0; r < kRowsAtOnce; ++r) {
      const std::int64_t row = std::min(y + r, in.height - 1);
      rows[r] = in.rgb + row * stride;
      to[r] = y + r < in.height ? out + row * out_stride : unused.data();
      if (row * stride + plan.reach <= bytes) continue;
      std::memcpy(copies.data() + r * room, rows[r], static_cast<std::size_t>(stride));
      rows[r] = copies.data() + r * room;
    }
    sum_rows(rows, plan, weights.size(), to);
  }
  return true;
}

bool resample_columns_avx512(const Raster& in, const ResampleWeights& weights, std::uint8_t* out) {
  ColumnPlan plan;
  if (in.stride() < kBytes || !plan_columns(weights, plan)) return false;
  for (std::int64_t y = 0; y < weights.size(); ++y)
    sum_columns(in, weights.first[y], &plan.factors[y * plan.quads], plan.quads,
                out + y * in.stride());
  return true;
}

#undef MUSTER_BYTES
#undef MUSTER_BYTES_INLINE

#else

bool has_byte_products() { return false; }
bool resample_rows_avx512(const Raster&, const ResampleWeights&, std::uint8_t*) { return false; }
bool resample_columns_avx512(const Raster&, const ResampleWeights&, std::uint8_t*) { return false; }

#endif

}  // namespace muster::data
