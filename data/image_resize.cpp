// Pillow's resampling (src/libImaging/Resample.c) to the bit: coefficients normalised in double, rounded to 22-bit
// fixed point, a horizontal pass and then a vertical one, each rounded and clipped to 8 bits.
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <vector>

#include "data/image.h"

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
  const double scale = static_cast<double>(in) / static_cast<double>(out), filter_scale = std::max(scale, 1.0);
  const double support = kSupport * filter_scale, per_pixel = 1.0 / filter_scale;
  Weights weights;
  weights.taps = static_cast<std::int64_t>(std::ceil(support)) * 2 + 1;
  weights.fixed.assign(static_cast<std::size_t>(out * weights.taps), 0);
  std::vector<double> row(static_cast<std::size_t>(weights.taps));
  for (std::int64_t i = 0; i < out; ++i) {
    const double center = (static_cast<double>(i) + 0.5) * scale;
    const auto first = std::max<std::int64_t>(0, static_cast<std::int64_t>(center - support + 0.5));
    const auto last = std::min<std::int64_t>(in, static_cast<std::int64_t>(center + support + 0.5));
    double sum = 0.0;
    for (std::int64_t x = first; x < last; ++x) {
      sum += row[static_cast<std::size_t>(x - first)] = cubic((static_cast<double>(x) - center + 0.5) * per_pixel);
    }
    for (std::int64_t k = 0; k < last - first; ++k) {
      const double weight = row[static_cast<std::size_t>(k)];
      weights.fixed[static_cast<std::size_t>(i * weights.taps + k)] = to_fixed(sum != 0.0 ? weight / sum : weight);
    }
    weights.first.push_back(first);
    weights.count.push_back(last - first);
  }
  return weights;
}

inline std::uint8_t clip8(std::int32_t sum) {
  return static_cast<std::uint8_t>(std::clamp(sum >> kPrecisionBits, 0, 255));
}

// The two kernels below have inner loops of constant length over contiguous bytes, which compilers turn into vector
// code. On x86-64 they are compiled twice, and the processor is asked once which to run.
#define MUSTER_KERNEL [[gnu::always_inline]] inline

constexpr std::int64_t kLanes = 8;  // two RGB pixels and two bytes that get weight 0

// Weights of taps 2k and 2k+1 as the kernel multiplies them: a a a b b b 0 0.
struct PairedWeights {
  std::int64_t pairs = 0;           // per output position
  std::vector<std::int32_t> lanes;  // [out, pairs, kLanes]
};

PairedWeights pair_up(const Weights& weights) {
  PairedWeights paired;
  paired.pairs = (weights.taps + 1) / 2;
  const std::size_t out = weights.first.size();
  paired.lanes.assign(out * static_cast<std::size_t>(paired.pairs * kLanes), 0);
  for (std::size_t i = 0; i < out; ++i) {
    for (std::int64_t k = 0; k < weights.count[i]; ++k) {
      std::int32_t* lane =
          &paired.lanes[(i * static_cast<std::size_t>(paired.pairs) + static_cast<std::size_t>(k / 2)) * kLanes];
      std::fill_n(lane + 3 * (k % 2), 3,
                  weights.fixed[i * static_cast<std::size_t>(weights.taps) + static_cast<std::size_t>(k)]);
    }
  }
  return paired;
}

// One row. Reads up to kLanes - 3 bytes behind the last pixel (with weight 0).
MUSTER_KERNEL void horizontal_row(const std::uint8_t* in, const Weights& weights, const PairedWeights& paired,
                                  std::uint8_t* out) {
  const std::size_t width = weights.first.size();
  for (std::size_t i = 0; i < width; ++i) {
    const std::uint8_t* pixels = in + 3 * weights.first[i];
    const std::int32_t* lane = &paired.lanes[i * static_cast<std::size_t>(paired.pairs * kLanes)];
    const std::int64_t pairs = (weights.count[i] + 1) / 2;
    std::int32_t sum[kLanes] = {};
    for (std::int64_t k = 0; k < pairs; ++k, pixels += 6, lane += kLanes) {
      for (std::int64_t j = 0; j < kLanes; ++j) sum[j] += pixels[j] * lane[j];
    }
    for (std::int64_t c = 0; c < 3; ++c) out[3 * static_cast<std::int64_t>(i) + c] = clip8(kHalf + sum[c] + sum[c + 3]);
  }
}

// One output row from `count` input rows `stride` bytes apart; every byte column has the same weights.
MUSTER_KERNEL void vertical_row(const std::uint8_t* in, std::int64_t stride, const std::int32_t* weights,
                                std::int64_t count, std::uint8_t* out) {
  constexpr std::int64_t kBlock = 32;
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
  std::vector<std::uint8_t> padded(static_cast<std::size_t>(in_stride + kLanes));
  for (std::int64_t y = 0; y < in.height; ++y) {
    const std::uint8_t* row = in.rgb.data() + y * in_stride;
    if ((in.height - 1 - y) * in_stride < kLanes) {  // too little memory behind it
      std::memcpy(padded.data(), row, static_cast<std::size_t>(in_stride));
      row = padded.data();
    }
    horizontal_row(row, weights, paired, out.rgb.data() + y * out_stride);
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

void horizontal_any(const Image& in, const Weights& weights, Image& out) { horizontal_pass(in, weights, out); }
void vertical_any(const Image& in, const Weights& weights, Image& out) { vertical_pass(in, weights, out); }

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

Image run_pass(const Image& in, std::int64_t width, std::int64_t height, const Weights& weights, Pass pass) {
  Image out{width, height, {}};
  out.rgb.resize(static_cast<std::size_t>(width * height * 3));
  pass(in, weights, out);
  return out;
}

}  // namespace

Image resize_bicubic(const Image& image, std::int64_t width, std::int64_t height) {
  TORCH_CHECK(width > 0 && height > 0 && image.width > 0 && image.height > 0, "resize_bicubic: an image without area");
  static const bool avx2 = has_avx2();
  Image out;
  if (width != image.width) {
    out =
        run_pass(image, width, image.height, make_weights(image.width, width), avx2 ? horizontal_avx2 : horizontal_any);
  }
  const Image& rows = width != image.width ? out : image;
  if (height == image.height) return rows;
  return run_pass(rows, width, height, make_weights(image.height, height), avx2 ? vertical_avx2 : vertical_any);
}

}  // namespace muster::data
