#include "data/images/patchify.h"

#include <fmt/core.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <span>
#include <stdexcept>

#include "base/error.h"
#include "data/images/resize.h"

namespace muster::data {
namespace {

// What each of the 256 pixel values becomes, per channel.
using ValueTable = std::array<std::array<float, 256>, 3>;

ValueTable value_table(const PatchOptions& options) {
  ValueTable table{};
  for (std::size_t c = 0; c < 3; ++c) {
    for (std::size_t v = 0; v < 256; ++v) {
      table[c][v] =
          static_cast<float>((static_cast<double>(v) / 255.0 - options.mean[c]) / options.std[c]);
    }
  }
  return table;
}

// One row of the output: [channel, frame, y, x]. A still image has equal frames.
float* write_patch(const Image& image, std::int64_t top, std::int64_t left,
                   const PatchOptions& options, const ValueTable& table, float* out) {
  const std::int64_t side = options.patch_size, area = side * side;
  for (std::size_t c = 0; c < 3; ++c) {
    const std::array<float, 256>& values = table[c];
    for (std::int64_t y = 0; y < side; ++y) {
      const std::uint8_t* pixels =
          image.rgb.data() + ((top + y) * image.width + left) * 3 + static_cast<int>(c);
      for (std::int64_t x = 0; x < side; ++x) out[y * side + x] = values[pixels[3 * x]];
    }
    for (std::int64_t t = 1; t < options.temporal_patch_size; ++t)
      std::copy_n(out, area, out + t * area);
    out += options.temporal_patch_size * area;
  }
  return out;
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
  const Image resized =
      resize_bicubic(image, grid.w * options.patch_size, grid.h * options.patch_size);
  const ValueTable table = value_table(options);
  const std::int64_t merge = options.merge_size, side = options.patch_size;
  float* row = out.data();
  for (std::int64_t y = 0; y < grid.h; y += merge) {
    for (std::int64_t x = 0; x < grid.w; x += merge) {
      for (std::int64_t inner = 0; inner < merge * merge; ++inner) {
        row = write_patch(resized, (y + inner / merge) * side, (x + inner % merge) * side, options,
                          table, row);
      }
    }
  }
}

}  // namespace muster::data
