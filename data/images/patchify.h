// From a picture to the rows that the vision tower takes, as Qwen's published processor does it.
#pragma once

#include <array>
#include <cstdint>
#include <span>

#include "data/images/image.h"

namespace muster::data {

struct Size {
  std::int64_t height = 0, width = 0;
  bool operator==(const Size&) const = default;
};
// Qwen's smart_resize: multiples of `factor`, pixel count in [min_pixels, max_pixels], aspect kept;
// banker's rounding. Throws DataError when the aspect ratio is over 200.
Size smart_resize(std::int64_t height, std::int64_t width, std::int64_t factor,
                  std::int64_t min_pixels, std::int64_t max_pixels);

struct PatchOptions {
  std::int64_t patch_size = 14, merge_size = 2, temporal_patch_size = 2;
  std::array<double, 3> mean{}, std{};
  std::int64_t min_pixels = 0, max_pixels = 0;
  std::int64_t factor() const { return patch_size * merge_size; }
  std::int64_t patch_dim() const { return 3 * temporal_patch_size * patch_size * patch_size; }
};

struct Grid {
  std::int64_t t = 1, h = 0, w = 0;  // in patches
  std::int64_t patches() const { return t * h * w; }
  bool operator==(const Grid&) const = default;
};
Grid patch_grid(std::int64_t height, std::int64_t width, const PatchOptions& options);

// Resize, scale to [0,1], normalise, and write [grid.patches(), patch_dim] f32 into `out` in Qwen's
// order: merged row, merged column, inner row, inner column; inside a row channel, frame, y, x
// (transformers, Qwen2VLImageProcessor).
void patchify(const Image& image, const PatchOptions& options, std::span<float> out);

}  // namespace muster::data
