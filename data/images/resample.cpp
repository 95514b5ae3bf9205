// The weights, and the passes on any processor.
#include "data/images/resample.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <vector>

namespace muster::data {
namespace {

constexpr double kSupport = 2.0;  // of the cubic, in input pixels at scale 1

double cubic(double x) {
  constexpr double a = -0.5;
  x = std::fabs(x);
  if (x < 1.0) return ((a + 2.0) * x - (a + 3.0)) * x * x + 1.0;
  if (x < 2.0) return (((x - 5.0) * x + 8.0) * x - 4.0) * a;
  return 0.0;
}

std::int32_t to_fixed(double weight) {
  return static_cast<std::int32_t>((weight < 0 ? -0.5 : 0.5) + weight * (1 << kPrecisionBits));
}

inline std::uint8_t clip8(std::int32_t sum) {
  return static_cast<std::uint8_t>(std::clamp(sum >> kPrecisionBits, 0, 255));
}

// The two kernels below work on several bytes at once, on whatever vectors the compiler has.

constexpr std::int64_t kLanes = 8;  // two RGB pixels and two values that get weight 0
using Lanes8 [[gnu::vector_size(kLanes * 4)]] = std::int32_t;

// Weights of taps 2k and 2k+1 as the kernel multiplies them: a a a b b b 0 0.
struct PairedWeights {
  std::int64_t pairs = 0;           // per output position
  std::vector<std::int32_t> lanes;  // [out, pairs, kLanes]
};

PairedWeights pair_up(const ResampleWeights& weights) {
  PairedWeights paired;
  paired.pairs = (weights.taps + 1) / 2;
  const auto out = static_cast<std::int64_t>(weights.first.size());
  paired.lanes.assign(static_cast<std::size_t>(out * paired.pairs * kLanes), 0);
  for (std::int64_t i = 0; i < out; ++i) {
    for (std::int64_t k = 0; k < weights.taps; ++k) {
      std::int32_t* lane = paired.lanes.data() + (i * paired.pairs + k / 2) * kLanes;
      std::fill_n(lane + 3 * (k % 2), 3, weights.fixed[i * weights.taps + k]);
    }
  }
  return paired;
}

constexpr std::int64_t kBlock = 32;  // bytes per iteration of simple loops

void widen(const std::uint8_t* __restrict__ in, std::int64_t size, std::int32_t* __restrict__ out) {
  std::int64_t x = 0;
  for (; x + kBlock <= size; x += kBlock) {
    for (std::int64_t j = 0; j < kBlock; ++j) out[x + j] = in[x + j];
  }
  for (; x < size; ++x) out[x] = in[x];
}

void narrow(const std::int32_t* __restrict__ in, std::int64_t size,
            std::uint8_t* __restrict__ out) {
  std::int64_t x = 0;
  for (; x + kBlock <= size; x += kBlock) {
    for (std::int64_t j = 0; j < kBlock; ++j) out[x + j] = clip8(in[x + j]);
  }
  for (; x < size; ++x) out[x] = clip8(in[x]);
}

// One row of fixed-point sums. Every position takes all its pairs, also those of weight 0: a loop
// whose length never changes is predicted. Reads values behind the last pixel (with weight 0) and
// writes kLanes - 3 behind the last sum.
void row_sums(const std::int32_t* in, const ResampleWeights& weights, const PairedWeights& paired,
              std::int32_t* out) {
  const std::int64_t *first = weights.first.data(), *end = first + weights.first.size();
  const std::int32_t* lane = paired.lanes.data();
  const std::int64_t pairs = paired.pairs;
  for (; first != end; ++first, out += 3) {
    const std::int32_t* pixels = in + 3 * *first;
    Lanes8 sum = {};
    for (std::int64_t k = 0; k < pairs; ++k, pixels += 6, lane += kLanes) {
      Lanes8 value, weight;
      std::memcpy(&value, pixels, sizeof value);
      std::memcpy(&weight, lane, sizeof weight);
      sum += value * weight;
    }
    sum += __builtin_shufflevector(sum, sum, 3, 4, 5, 6, 7, 0, 1, 2) +
           kHalf;  // the second pixel onto the first
    std::memcpy(out, &sum, sizeof sum);
  }
}

// One output row from `count` input rows `stride` bytes apart; every byte column has the same
// weights.
void column_sums(const std::uint8_t* in, std::int64_t stride, const std::int32_t* weights,
                 std::int64_t count, std::uint8_t* out) {
  std::int64_t x = 0;
  for (; x + kBlock <= stride; x += kBlock) {
    std::int32_t sum[kBlock];
    for (std::int64_t j = 0; j < kBlock; ++j) sum[j] = kHalf;
    const std::uint8_t* row = in + x;
    for (std::int64_t k = 0; k < count; ++k, row += stride) {
      for (std::int64_t j = 0; j < kBlock; ++j) sum[j] += row[j] * weights[k];
    }
    for (std::int64_t j = 0; j < kBlock; ++j) out[x + j] = clip8(sum[j]);
  }
  for (; x < stride; ++x) {
    std::int32_t sum = kHalf;
    for (std::int64_t k = 0; k < count; ++k) sum += in[k * stride + x] * weights[k];
    out[x] = clip8(sum);
  }
}

void rows_pass(const Raster& in, const ResampleWeights& weights, std::uint8_t* out) {
  const PairedWeights paired = pair_up(weights);
  const std::int64_t in_stride = in.stride(), out_stride = 3 * weights.size();
  std::vector<std::int32_t> row(static_cast<std::size_t>(in_stride + paired.pairs * 6 + kLanes));
  std::vector<std::int32_t> sums(static_cast<std::size_t>(out_stride + kLanes));
  for (std::int64_t y = 0; y < in.height; ++y) {
    widen(in.rgb + y * in_stride, in_stride, row.data());
    row_sums(row.data(), weights, paired, sums.data());
    narrow(sums.data(), out_stride, out + y * out_stride);
  }
}

void columns_pass(const Raster& in, const ResampleWeights& weights, std::uint8_t* out) {
  const std::int64_t stride = in.stride();
  for (std::int64_t y = 0; y < weights.size(); ++y) {
    const auto i = static_cast<std::size_t>(y);
    column_sums(in.rgb + weights.first[i] * stride, stride,
                &weights.fixed[i * static_cast<std::size_t>(weights.taps)], weights.count[i],
                out + y * stride);
  }
}

}  // namespace

ResampleWeights resample_weights(std::int64_t in, std::int64_t out) {
  const double scale = static_cast<double>(in) / static_cast<double>(out),
               filter_scale = std::max(scale, 1.0);
  const double support = kSupport * filter_scale, per_pixel = 1.0 / filter_scale;
  ResampleWeights weights;
  weights.taps = static_cast<std::int64_t>(std::ceil(support)) * 2 + 1;
  weights.fixed.assign(static_cast<std::size_t>(out * weights.taps), 0);
  std::vector<double> row(static_cast<std::size_t>(weights.taps));
  for (std::int64_t i = 0; i < out; ++i) {
    const double center = (static_cast<double>(i) + 0.5) * scale;
    // Rounded as Pillow does it: half is added and the fraction cut off.
    const double begin = center - support + 0.5, end = center + support + 0.5;
    const auto first = std::max<std::int64_t>(0, static_cast<std::int64_t>(begin));
    const auto last = std::min<std::int64_t>(in, static_cast<std::int64_t>(end));
    double sum = 0.0;
    for (std::int64_t x = first; x < last; ++x) {
      sum += row[x - first] = cubic((static_cast<double>(x) - center + 0.5) * per_pixel);
    }
    for (std::int64_t k = 0; k < last - first; ++k) {
      const double weight = row[k];
      weights.fixed[i * weights.taps + k] = to_fixed(sum != 0.0 ? weight / sum : weight);
    }
    weights.first.push_back(first);
    weights.count.push_back(last - first);
  }
  return weights;
}

bool cpu_has(ResampleIsa isa) {
#if defined(__x86_64__)
  if (isa == ResampleIsa::kAvx512) return has_byte_products();
  if (isa == ResampleIsa::kAvx2) return __builtin_cpu_supports("avx2") != 0;
#endif
  return isa == ResampleIsa::kBaseline;
}

ResampleIsa best_resample_isa() {
  static const ResampleIsa best = [] {
    for (const ResampleIsa isa : {ResampleIsa::kAvx512, ResampleIsa::kAvx2})
      if (cpu_has(isa)) return isa;
    return ResampleIsa::kBaseline;
  }();
  return best;
}

void resample_rows(const Raster& in, const ResampleWeights& weights, std::uint8_t* out,
                   ResampleIsa isa) {
  if (isa == ResampleIsa::kAvx512 && resample_rows_avx512(in, weights, out)) return;
#if defined(__x86_64__)
  if (isa != ResampleIsa::kBaseline) return resample_rows_avx2(in, weights, out);
#endif
  rows_pass(in, weights, out);
}

void resample_columns(const Raster& in, const ResampleWeights& weights, std::uint8_t* out,
                      ResampleIsa isa) {
  if (isa == ResampleIsa::kAvx512 && resample_columns_avx512(in, weights, out)) return;
  if (isa != ResampleIsa::kBaseline && resample_columns_avx2(in, weights, out)) return;
  columns_pass(in, weights, out);
}

}  // namespace muster::data
