#include "data/images/patchify.h"

#include <fmt/core.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <span>
#include <stdexcept>

#include "base/error.h"
#include "data/images/resize.h"

#include "base/vectorize.h"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace muster::data {
namespace {

// A pixel's value v becomes float(v * scale + bias), reckoned in double: two roundings and one to
// float, the same on every processor.
struct Normal {
  std::array<double, 3> scale, bias;
};

Normal normal_of(const PatchOptions& options) {
  constexpr double kWhite = 255.0;
  Normal normal{};
  for (std::size_t c = 0; c < 3; ++c) {
    normal.scale[c] = 1.0 / (kWhite * options.std[c]);
    normal.bias[c] = -options.mean[c] / options.std[c];
  }
  return normal;
}

inline float value_of(std::int32_t v, double scale, double bias) {
  return static_cast<float>(static_cast<double>(v) * scale + bias);
}

using ValueTable = std::array<std::array<float, 256>, 3>;

// Where the patches of a picture come from and how they are written.
struct Patches {
  const Image& image;
  std::int64_t side, frames;
  Normal normal;
  ValueTable table;  // of `normal`

  std::int64_t area() const { return side * side; }
  const std::uint8_t* pixels(std::int64_t y, std::int64_t x) const {
    return image.rgb.data() + (y * image.width + x) * 3;
  }
};

// One row of the output: [channel, frame, y, x]. A still image has equal frames.
void write_patch(const Patches& of, std::int64_t top, std::int64_t left, float* out) {
  const std::int64_t side = of.side, area = of.area();
  for (std::size_t c = 0; c < 3; ++c) {
    const std::array<float, 256>& values = of.table[c];
    for (std::int64_t y = 0; y < side; ++y) {
      const std::uint8_t* pixels = of.pixels(top + y, left) + c;
      for (std::int64_t x = 0; x < side; ++x) out[y * side + x] = values[pixels[3 * x]];
    }
    for (std::int64_t t = 1; t < of.frames; ++t) std::copy_n(out, area, out + t * area);
    out += of.frames * area;
  }
}

#if defined(__x86_64__)
constexpr std::int64_t kLanes = 16;  // pixels at once
using Bytes [[gnu::vector_size(kLanes)]] = std::uint8_t;

// One channel of 16 pixels. Those of the first two registers are gathered first, then those of the
// third (indices 16 and up) behind them.
template <int kChannel>
MUSTER_AVX2 MUSTER_INLINE Bytes plane_of(const std::uint8_t* pixels) {
  Bytes a, b, c;
  std::memcpy(&a, pixels, sizeof a);
  std::memcpy(&b, pixels + sizeof a, sizeof b);
  std::memcpy(&c, pixels + 2 * sizeof a, sizeof c);
  constexpr int k = kChannel;
  if constexpr (kChannel < 2) {
    const Bytes front =
        __builtin_shufflevector(a, b, k, k + 3, k + 6, k + 9, k + 12, k + 15, k + 18, k + 21,
                                k + 24, k + 27, k + 30, 0, 0, 0, 0, 0);
    return __builtin_shufflevector(front, c, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, k + 17, k + 20,
                                   k + 23, k + 26, k + 29);
  } else {
    const Bytes front =
        __builtin_shufflevector(a, b, 2, 5, 8, 11, 14, 17, 20, 23, 26, 29, 0, 0, 0, 0, 0, 0);
    return __builtin_shufflevector(front, c, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 16, 19, 22, 25, 28, 31);
  }
}

// value_of() of four values.
MUSTER_AVX2 MUSTER_INLINE __m128 four_values(__m128i v, double scale, double bias) {
  const __m256d scaled = _mm256_cvtepi32_pd(v) * _mm256_set1_pd(scale);
  return _mm256_cvtpd_ps(scaled + _mm256_set1_pd(bias));
}

MUSTER_AVX2 MUSTER_INLINE void to_values(Bytes plane, double scale, double bias, float* out) {
  const auto bytes = reinterpret_cast<__m128i>(plane);
  const __m128i fours[4] = {bytes, _mm_srli_si128(bytes, 4), _mm_srli_si128(bytes, 8),
                            _mm_srli_si128(bytes, 12)};
  for (int k = 0; k < 4; ++k)
    _mm_storeu_ps(out + 4 * k, four_values(_mm_cvtepu8_epi32(fours[k]), scale, bias));
}

// One channel of a patch into its frames. A line is written as kLanes values, of which those behind
// its `side` lie in lines that follow; the last lines are copied. The order of writing is that of
// memory: the processor fetches what is written in sequence ahead.
template <int kChannel>
MUSTER_AVX2 MUSTER_INLINE void write_channel(const Patches& of, std::int64_t top, std::int64_t left,
                                             float* out) {
  const std::int64_t side = of.side, area = of.area();
  const std::uint8_t* end = of.image.rgb.data() + of.image.rgb.size();
  const double scale = of.normal.scale[kChannel], bias = of.normal.bias[kChannel];
  for (std::int64_t y = 0; y < side; ++y) {
    const std::uint8_t* pixels = of.pixels(top + y, left);
    std::uint8_t copy[3 * kLanes] = {};
    if (end - pixels < 3 * kLanes) {
      std::memcpy(copy, pixels, static_cast<std::size_t>(end - pixels));
      pixels = copy;
    }
    const Bytes plane = plane_of<kChannel>(pixels);
    float* line = out + y * side;
    if (y * side + kLanes <= area) {
      to_values(plane, scale, bias, line);
      continue;
    }
    float values[kLanes];
    to_values(plane, scale, bias, values);
    std::copy_n(values, side, line);
  }
  for (std::int64_t t = 1; t < of.frames; ++t) std::copy_n(out, area, out + t * area);
}

// The same as write_patch. REQUIRES side <= kLanes.
MUSTER_AVX2 void write_patch_avx2(const Patches& of, std::int64_t top, std::int64_t left,
                                  float* out) {
  const std::int64_t channel = of.frames * of.area();
  write_channel<0>(of, top, left, out);
  write_channel<1>(of, top, left, out + channel);
  write_channel<2>(of, top, left, out + 2 * channel);
}
#else
constexpr std::int64_t kLanes = 0;
constexpr auto write_patch_avx2 = write_patch;
#endif

ValueTable table_of(const Normal& normal) {
  ValueTable table{};
  for (std::size_t c = 0; c < 3; ++c)
    for (std::size_t v = 0; v < 256; ++v)
      table[c][v] = value_of(static_cast<std::int32_t>(v), normal.scale[c], normal.bias[c]);
  return table;
}

std::int64_t round_to(double multiples, std::int64_t factor) {
  return static_cast<std::int64_t>(multiples) * factor;
}

}  // namespace

// The order of the floating-point operations is Qwen's: the scale comes from the original height
// and width.
Size smart_resize(std::int64_t height, std::int64_t width, std::int64_t factor,
                  std::int64_t min_pixels, std::int64_t max_pixels) {
  constexpr double kMaxAspect = 200.0;
  if (height <= 0 || width <= 0)
    throw DataError(fmt::format("an image of {} x {} pixels has no area", width, height));
  const auto h = static_cast<double>(height), w = static_cast<double>(width),
             f = static_cast<double>(factor);
  if (const double aspect = std::max(h, w) / std::min(h, w); aspect > kMaxAspect) {
    throw DataError(
        fmt::format("an image of {} x {} pixels has aspect ratio {:.1f}; at most {:.0f} is taken",
                    width, height, aspect, kMaxAspect));
  }
  const Size nearest{round_to(std::nearbyint(h / f), factor),
                     round_to(std::nearbyint(w / f), factor)};
  if (nearest.height * nearest.width > max_pixels) {
    const double shrink = std::sqrt(h * w / static_cast<double>(max_pixels));
    return {std::max(factor, round_to(std::floor(h / shrink / f), factor)),
            std::max(factor, round_to(std::floor(w / shrink / f), factor))};
  }
  if (nearest.height * nearest.width < min_pixels) {
    const double grow = std::sqrt(static_cast<double>(min_pixels) / (h * w));
    return {round_to(std::ceil(h * grow / f), factor), round_to(std::ceil(w * grow / f), factor)};
  }
  return {std::max(factor, nearest.height), std::max(factor, nearest.width)};
}

Grid patch_grid(std::int64_t height, std::int64_t width, const PatchOptions& options) {
  const Size size =
      smart_resize(height, width, options.factor(), options.min_pixels, options.max_pixels);
  return {1, size.height / options.patch_size, size.width / options.patch_size};
}

void patchify(const Image& image, const PatchOptions& options, std::span<float> out) {
  const Grid grid = patch_grid(image.height, image.width, options);
  const auto wanted = static_cast<std::size_t>(grid.patches() * options.patch_dim());
  if (out.size() != wanted)
    throw std::logic_error(
        fmt::format("patchify: the output holds {} values, the image has {}", out.size(), wanted));
  const Size size{grid.h * options.patch_size, grid.w * options.patch_size};
  const bool as_is = size == Size{image.height, image.width};
  const Image resized = as_is ? Image{} : resize_bicubic(image, size.width, size.height);
  const Normal normal = normal_of(options);
  const Patches patches{.image = as_is ? image : resized,
                        .side = options.patch_size,
                        .frames = options.temporal_patch_size,
                        .normal = normal,
                        .table = table_of(normal)};
  const bool avx2 = cpu_has_avx2() && patches.side <= kLanes;
  const auto write = avx2 ? write_patch_avx2 : write_patch;
  const std::int64_t merge = options.merge_size, side = options.patch_size;
  float* row = out.data();
  for (std::int64_t y = 0; y < grid.h; y += merge) {
    for (std::int64_t x = 0; x < grid.w; x += merge) {
      for (std::int64_t inner = 0; inner < merge * merge; ++inner) {
        write(patches, (y + inner / merge) * side, (x + inner % merge) * side, row);
        row += options.patch_dim();
      }
    }
  }
}

}  // namespace muster::data
