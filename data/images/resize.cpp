// Pillow 11's resampling (src/libImaging/Resample.c) to the bit: coefficients normalised in double,
// rounded to 22-bit fixed point, a horizontal pass and then a vertical one, each rounded and
// clipped to 8 bits.
#include "data/images/resize.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <stdexcept>
#include <vector>

namespace muster::data {
namespace {

constexpr int kPrecisionBits = 32 - 8 - 2;  // 8 bits of pixel, 2 of headroom for overshoot
constexpr std::int32_t kHalf = 1 << (kPrecisionBits - 1);
constexpr double kSupport = 2.0;  // of the cubic, in input pixels at scale 1

double cubic(double x) {
  constexpr double a = -0.5;
  x = std::fabs(x);
  if (x < 1.0) return ((a + 2.0) * x - (a + 3.0)) * x * x + 1.0;
  if (x < 2.0) return (((x - 5.0) * x + 8.0) * x - 4.0) * a;
  return 0.0;
}

// For each output position: the first input position and the weights, padded with zeros to `taps`.
struct Weights {
  std::int64_t taps = 0;
  std::vector<std::int64_t> first;  // [out]
  std::vector<std::int64_t> count;  // [out], at most taps
  std::vector<std::int32_t> fixed;  // [out, taps]
};

std::int32_t to_fixed(double weight) {
  return static_cast<std::int32_t>((weight < 0 ? -0.5 : 0.5) + weight * (1 << kPrecisionBits));
}

Weights make_weights(std::int64_t in, std::int64_t out) {
  const double scale = static_cast<double>(in) / static_cast<double>(out),
               filter_scale = std::max(scale, 1.0);
  const double support = kSupport * filter_scale, per_pixel = 1.0 / filter_scale;
  Weights weights;
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

inline std::uint8_t clip8(std::int32_t sum) {
  return static_cast<std::uint8_t>(std::clamp(sum >> kPrecisionBits, 0, 255));
}

// The two kernels below work on several bytes at once. On x86-64 they are compiled twice, and the
// processor is asked once which to run.
#define MUSTER_KERNEL [[gnu::always_inline]] inline

constexpr std::int64_t kLanes = 8;  // two RGB pixels and two values that get weight 0
using Lanes8 [[gnu::vector_size(kLanes * 4)]] = std::int32_t;

// Weights of taps 2k and 2k+1 as the kernel multiplies them: a a a b b b 0 0.
struct PairedWeights {
  std::int64_t pairs = 0;           // per output position
  std::vector<std::int32_t> lanes;  // [out, pairs, kLanes]
};

PairedWeights pair_up(const Weights& weights) {
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

MUSTER_KERNEL void widen(const std::uint8_t* __restrict__ in, std::int64_t size,
                         std::int32_t* __restrict__ out) {
  std::int64_t x = 0;
  for (; x + kBlock <= size; x += kBlock) {
    for (std::int64_t j = 0; j < kBlock; ++j) out[x + j] = in[x + j];
  }
  for (; x < size; ++x) out[x] = in[x];
}

MUSTER_KERNEL void narrow(const std::int32_t* __restrict__ in, std::int64_t size,
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
MUSTER_KERNEL void horizontal_row(const std::int32_t* in, const Weights& weights,
                                  const PairedWeights& paired, std::int32_t* out) {
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
MUSTER_KERNEL void vertical_row(const std::uint8_t* in, std::int64_t stride,
                                const std::int32_t* weights, std::int64_t count,
                                std::uint8_t* out) {
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

MUSTER_KERNEL void horizontal_pass(const Image& in, const Weights& weights, Image& out) {
  const PairedWeights paired = pair_up(weights);
  const std::int64_t in_stride = in.width * 3, out_stride = out.width * 3;
  std::vector<std::int32_t> row(static_cast<std::size_t>(in_stride + paired.pairs * 6 + kLanes));
  std::vector<std::int32_t> sums(static_cast<std::size_t>(out_stride + kLanes));
  for (std::int64_t y = 0; y < in.height; ++y) {
    widen(in.rgb.data() + y * in_stride, in_stride, row.data());
    horizontal_row(row.data(), weights, paired, sums.data());
    narrow(sums.data(), out_stride, out.rgb.data() + y * out_stride);
  }
}

MUSTER_KERNEL void vertical_pass(const Image& in, const Weights& weights, Image& out) {
  const std::int64_t stride = in.width * 3;
  for (std::int64_t y = 0; y < out.height; ++y) {
    const auto i = static_cast<std::size_t>(y);
    vertical_row(in.rgb.data() + weights.first[i] * stride, stride,
                 &weights.fixed[i * static_cast<std::size_t>(weights.taps)], weights.count[i],
                 out.rgb.data() + y * stride);
  }
}

using Pass = void (*)(const Image& in, const Weights& weights, Image& out);

void horizontal_any(const Image& in, const Weights& weights, Image& out) {
  horizontal_pass(in, weights, out);
}
void vertical_any(const Image& in, const Weights& weights, Image& out) {
  vertical_pass(in, weights, out);
}

#if defined(__x86_64__)
[[gnu::target("avx2")]] void horizontal_avx2(const Image& in, const Weights& weights, Image& out) {
  horizontal_pass(in, weights, out);
}
[[gnu::target("avx2")]] void vertical_avx2(const Image& in, const Weights& weights, Image& out) {
  vertical_pass(in, weights, out);
}
bool has_avx2() { return __builtin_cpu_supports("avx2") != 0; }
#else
constexpr Pass horizontal_avx2 = horizontal_any, vertical_avx2 = vertical_any;
bool has_avx2() { return false; }
#endif

Image run_pass(const Image& in, std::int64_t width, std::int64_t height, const Weights& weights,
               Pass pass) {
  Image out{width, height, {}};
  out.rgb.resize(static_cast<std::size_t>(width * height * 3));
  pass(in, weights, out);
  return out;
}

}  // namespace

Image resize_bicubic(const Image& image, std::int64_t width, std::int64_t height) {
  if (width <= 0 || height <= 0 || image.width <= 0 || image.height <= 0)
    throw std::logic_error("resize_bicubic: an image without area");
  static const bool avx2 = has_avx2();
  Image out;
  if (width != image.width) {
    out = run_pass(image, width, image.height, make_weights(image.width, width),
                   avx2 ? horizontal_avx2 : horizontal_any);
  }
  const Image& rows = width != image.width ? out : image;
  if (height == image.height) return rows;
  return run_pass(rows, width, height, make_weights(image.height, height),
                  avx2 ? vertical_avx2 : vertical_any);
}

}  // namespace muster::data
