// Box arithmetic, always fp32. Two forms: cx,cy,w,h in [0,1] of the image (what the network speaks)
// and x1,y1,x2,y2.
#pragma once

#include <ATen/core/Tensor.h>

#include <array>
#include <cstdint>

namespace muster::model {

using Box = std::array<float, 4>;

at::Tensor cxcywh_to_xyxy(const at::Tensor& boxes);  // [..., 4]
Box cxcywh_to_xyxy(const Box& box);

// Of pairs of xyxy boxes: the intersection over the union, in [0, 1], and the generalised IoU
// (Rezatofighi et al., CVPR 2019), in [-1, 1]: IoU - (hull - union) / hull. Degenerate boxes count
// as area 0; both are always finite.
struct PairedOverlaps {
  at::Tensor iou, giou;  // [n]
};
PairedOverlaps paired_overlaps(const at::Tensor& a, const at::Tensor& b);  // [n, 4], [n, 4]
float iou(const Box& a, const Box& b);
float giou(const Box& a, const Box& b);

float l1_distance(const Box& a, const Box& b);

// log(x / (1 - x)) with x clamped to [1e-4, 1 - 1e-4], so that a box at the image's edge keeps a
// gradient.
at::Tensor inverse_sigmoid(const at::Tensor& x);

// Sine features of coordinates in [0,1]: `dim` per coordinate (even), half sines, half cosines,
// from half a period across the image to sixteen, geometrically spaced.
// [..., n] -> [..., n * dim].
at::Tensor sine_features(const at::Tensor& coordinates, std::int64_t dim);

}  // namespace muster::model
