// The memory of a batch as maps, for what reads neighbours: convolutions, and attention to points.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

#include "model/head/point_attention.h"
#include "model/head/token_layout.h"

namespace muster::model {

// Maps of all images have the rows and columns of the largest; beyond a smaller one's edge is zero.
class MemoryMap {
 public:
  // Throws DataError for an image of several frames, which is no map.
  MemoryMap(const TokenLayout& layout, at::Device device);

  at::Tensor spread(
      const at::Tensor& tokens) const;  // [images, width, dim] -> [..., rows, columns, dim]
  at::Tensor collect(const at::Tensor& map) const;  // and back
  // Zero beyond the edges: [images, rows, columns, 1]; undefined when no image is smaller.
  const at::Tensor& inside() const { return inside_; }

  // What reads the map bilinearly between the centres of its cells, beyond the outermost centres
  // the value there. `points` are x,y in [0,1] of each image, [images, queries, points, 2]; rows of
  // the map are those of [images * rows * columns].
  MapPoints at(const at::Tensor& points) const;

 private:
  std::int64_t images_ = 0, rows_ = 0, columns_ = 0, width_ = 0;
  at::Tensor inside_;
  at::Tensor token_of_cell_, cell_of_token_;  // rows of the flat forms; undefined when they agree
  at::Tensor sides_;                          // [images, 1, 2] f32: columns, rows of each image
};

}  // namespace muster::model
