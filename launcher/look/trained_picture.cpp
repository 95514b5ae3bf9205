#include "launcher/look/trained_picture.h"

#include <algorithm>
#include <cmath>

namespace muster::launcher {
namespace {

std::uint8_t colour(double value) {
  return static_cast<std::uint8_t>(std::clamp(std::lround(value * 255), 0L, 255L));
}

// One patch, [channel, frame, y, x], with its top left corner at `left`, `top`.
void draw_patch(const float* values, const data::PatchOptions& patches, std::int64_t left,
                std::int64_t top, data::Image& image) {
  const std::int64_t side = patches.patch_size;
  for (std::size_t c = 0; c < 3; ++c) {
    const float* frame =
        values + static_cast<std::int64_t>(c) * patches.temporal_patch_size * side * side;
    for (std::int64_t y = 0; y < side; ++y) {
      for (std::int64_t x = 0; x < side; ++x) {
        const double value = double{frame[y * side + x]} * patches.std[c] + patches.mean[c];
        const auto at = static_cast<std::size_t>(((top + y) * image.width + left + x) * 3);
        image.rgb[at + c] = colour(value);
      }
    }
  }
}

}  // namespace

data::Image trained_picture(std::span<const float> rows, const data::Grid& grid,
                            const data::PatchOptions& patches) {
  const std::int64_t side = patches.patch_size;
  const std::int64_t merge = patches.merge_size;
  data::Image image{.width = grid.w * side, .height = grid.h * side, .rgb = {}};
  image.rgb.resize(static_cast<std::size_t>(image.width * image.height * 3));
  const std::int64_t merged_columns = grid.w / merge;
  for (std::int64_t patch = 0; patch < grid.h * grid.w; ++patch) {
    const std::int64_t inner = patch % (merge * merge);
    const std::int64_t merged = patch / (merge * merge);
    const std::int64_t row = merged / merged_columns * merge + inner / merge;
    const std::int64_t column = merged % merged_columns * merge + inner % merge;
    draw_patch(rows.data() + patch * patches.patch_dim(), patches, column * side, row * side,
               image);
  }
  return image;
}

}  // namespace muster::launcher
