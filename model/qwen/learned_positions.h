// Qwen3-VL's learned positions: a square table, interpolated to each image's grid.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

namespace muster::model {

// table [side * side, hidden]; grid_thw [images, 3] i64, in patches, each side a multiple of
// `merge`. -> [patches, hidden] in the pixel rows' merged order. Bilinear, the corners of table and
// grid coinciding (transformers, fast_pos_embed_interpolate).
at::Tensor learned_positions(const at::Tensor& table, const at::Tensor& grid_thw,
                             std::int64_t merge);

}  // namespace muster::model
