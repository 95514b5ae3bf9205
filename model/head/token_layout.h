// Where the tokens lie that a detection head reads.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

namespace muster::model {

// Image i has counts[i] tokens, in rows of columns[i] per frame.
struct TokenLayout {
  std::vector<std::int64_t> counts, columns, rows;
  std::int64_t width = 0;  // the largest count: images are padded to it

  std::int64_t images() const { return static_cast<std::int64_t>(counts.size()); }
  // The token of the first frame on which the point (x, y) in [0, 1]^2 falls.
  std::int64_t token_at(std::int64_t image, float x, float y) const;
  at::Tensor pad(const at::Tensor& tokens) const;  // [tokens, dim] -> [images, width, dim]
  at::Tensor centres() const;                      // [images, width, 2] f32, CPU
  at::Tensor anchors() const;  // [images, width, 4] f32, CPU: boxes a token starts from
  // Additive [images, 1, 1, width] f32, CPU; undefined when nothing is padded.
  at::Tensor key_mask() const;
};

// grid_thw [images, 3], in patches; merge_size: patches per side of a token, 1 for the patches
// themselves.
TokenLayout token_layout(const at::Tensor& grid_thw, std::int64_t merge_size);

}  // namespace muster::model
