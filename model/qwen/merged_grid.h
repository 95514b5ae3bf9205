// The grid of an image in merged tokens: what the vision tower hands to the language model.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

namespace muster::model {

struct MergedGrid {
  std::int64_t frames = 0;
  std::int64_t rows = 0;
  std::int64_t columns = 0;
  std::int64_t frame_tokens() const { return rows * columns; }
  std::int64_t tokens() const { return frames * frame_tokens(); }
};

// grid_thw [images, 3] i64, in patches; `merge`: patches per side of a merged token. Throws
// DataError when a grid does not divide into merged tokens.
std::vector<MergedGrid> merged_grids(const at::Tensor& grid_thw, std::int64_t merge);

}  // namespace muster::model
