#include "model/head/boxes.h"

#include <algorithm>
#include <cmath>
#include <numbers>

namespace muster::model {
namespace {

constexpr double kSmallestArea = 1e-12;  // of the unit square; below it a hull is a point or a line

at::Tensor area(const at::Tensor& low, const at::Tensor& high) {  // [n, 2], [n, 2] -> [n]
  const at::Tensor size = (high - low).clamp_min(0);
  return size.select(-1, 0) * size.select(-1, 1);
}

at::Tensor area(const at::Tensor& corners) {  // [n, 4] -> [n]
  return area(corners.narrow(-1, 0, 2), corners.narrow(-1, 2, 2));
}

float area(const Box& box) {
  return std::max(0.0f, box[2] - box[0]) * std::max(0.0f, box[3] - box[1]);
}

// Areas of what two boxes share, and of what either covers.
template <typename Area>
struct Overlap {
  Area common, both;
};

Overlap<at::Tensor> overlap(const at::Tensor& a, const at::Tensor& b) {  // [n, 4], [n, 4]
  const at::Tensor low = at::maximum(a.narrow(-1, 0, 2), b.narrow(-1, 0, 2));
  const at::Tensor high = at::minimum(a.narrow(-1, 2, 2), b.narrow(-1, 2, 2));
  const at::Tensor common = area(low, high);
  return {common, area(a) + area(b) - common};
}

Overlap<float> overlap(const Box& a, const Box& b) {
  const float common = area(
      Box{std::max(a[0], b[0]), std::max(a[1], b[1]), std::min(a[2], b[2]), std::min(a[3], b[3])});
  return {common, area(a) + area(b) - common};
}

}  // namespace

at::Tensor cxcywh_to_xyxy(const at::Tensor& boxes) {
  const at::Tensor centre = boxes.narrow(-1, 0, 2), half = boxes.narrow(-1, 2, 2) * 0.5;
  return at::cat({centre - half, centre + half}, -1);
}

Box cxcywh_to_xyxy(const Box& box) {
  const float half_w = box[2] * 0.5f, half_h = box[3] * 0.5f;
  return {box[0] - half_w, box[1] - half_h, box[0] + half_w, box[1] + half_h};
}

PairedOverlaps paired_overlaps(const at::Tensor& a, const at::Tensor& b) {
  const at::Tensor hull_low = at::minimum(a.narrow(-1, 0, 2), b.narrow(-1, 0, 2));
  const at::Tensor hull_high = at::maximum(a.narrow(-1, 2, 2), b.narrow(-1, 2, 2));
  const auto [common, both] = overlap(a, b);
  const at::Tensor hull = area(hull_low, hull_high).clamp_min(kSmallestArea);
  const at::Tensor iou = common / both.clamp_min(kSmallestArea);
  return {iou, iou - (hull - both).clamp_min(0) / hull};
}

float giou(const Box& a, const Box& b) {
  const auto [common, both] = overlap(a, b);
  const float hull = std::max(area(Box{std::min(a[0], b[0]), std::min(a[1], b[1]),
                                       std::max(a[2], b[2]), std::max(a[3], b[3])}),
                              float{kSmallestArea});
  return common / std::max(both, float{kSmallestArea}) - std::max(hull - both, 0.0f) / hull;
}

float iou(const Box& a, const Box& b) {
  const auto [common, both] = overlap(a, b);
  return common / std::max(both, float{kSmallestArea});
}

float l1_distance(const Box& a, const Box& b) {
  float sum = 0;
  for (std::size_t i = 0; i < 4; ++i) sum += std::abs(a[i] - b[i]);
  return sum;
}

at::Tensor inverse_sigmoid(const at::Tensor& x) { return at::logit(x, 1e-4); }

at::Tensor sine_features(const at::Tensor& coordinates, std::int64_t dim) {
  TORCH_CHECK(dim % 2 == 0, "sine_features: ", dim, " features per coordinate, must be even");
  constexpr double kFinest = 32;  // periods across the image
  const std::int64_t half = dim / 2;
  const at::Tensor step = at::arange(half, coordinates.options().dtype(at::kFloat));
  const at::Tensor frequency =
      at::pow(kFinest, step / std::max<double>(1, half - 1)) * std::numbers::pi;
  const at::Tensor phase =
      coordinates.to(at::kFloat).unsqueeze(-1) * frequency;  // [..., n, dim / 2]
  return at::cat({phase.sin(), phase.cos()}, -1).flatten(-2);
}

}  // namespace muster::model
