#include "model/head/boxes.h"

#include <catch2/catch_approx.hpp>
#include <catch2/catch_test_macros.hpp>
#include <cmath>

#include "base/rng.h"

namespace muster::model {
namespace {

Box random_box(Rng& rng) {  // x1, y1, x2, y2
  const auto x = static_cast<float>(rng.uniform()), y = static_cast<float>(rng.uniform());
  return {x, y, x + static_cast<float>(rng.uniform(0.05, 0.6)),
          y + static_cast<float>(rng.uniform(0.05, 0.6))};
}

at::Tensor tensor_of(const Box& box) {
  return at::tensor(std::vector<float>(box.begin(), box.end())).view({1, 4});
}

// GIoU by counting the cells of a fine grid: knows nothing of min and max.
double counted_giou(const Box& a, const Box& b, int cells) {
  const double low = -0.1, step = 2.0 / cells;
  std::int64_t common = 0, both = 0;
  double x1 = 9, y1 = 9, x2 = -9, y2 = -9;
  for (int i = 0; i < cells; ++i) {
    for (int j = 0; j < cells; ++j) {
      const double x = low + (i + 0.5) * step, y = low + (j + 0.5) * step;
      const bool in_a = x > a[0] && x < a[2] && y > a[1] && y < a[3];
      const bool in_b = x > b[0] && x < b[2] && y > b[1] && y < b[3];
      common += in_a && in_b;
      if (!in_a && !in_b) continue;
      both += 1;
      x1 = std::min(x1, x - step / 2);
      x2 = std::max(x2, x + step / 2);
      y1 = std::min(y1, y - step / 2);
      y2 = std::max(y2, y + step / 2);
    }
  }
  const double hull = (x2 - x1) * (y2 - y1), covered = static_cast<double>(both) * step * step;
  return static_cast<double>(common) / static_cast<double>(both) - (hull - covered) / hull;
}

TEST_CASE("GIoU agrees with counting cells", "[unit]") {
  Rng rng(3);
  for (int trial = 0; trial < 12; ++trial) {
    const Box a = random_box(rng), b = random_box(rng);
    const double expected = counted_giou(a, b, 700);
    CHECK(giou(a, b) == Catch::Approx(expected).margin(0.02));
    const PairedOverlaps paired = paired_overlaps(tensor_of(a), tensor_of(b));
    CHECK(paired.giou.item<float>() == Catch::Approx(giou(a, b)).margin(1e-6));
    CHECK(paired.iou.item<float>() == Catch::Approx(iou(a, b)).margin(1e-6));
  }
}

TEST_CASE("GIoU of known pairs", "[unit]") {
  const Box box{0.2f, 0.2f, 0.6f, 0.4f};
  CHECK(giou(box, box) == Catch::Approx(1));
  CHECK(giou({0, 0, 1, 1}, {2, 0, 3, 1}) == Catch::Approx(-1.0 / 3));           // hull 3, union 2
  CHECK(giou({0, 0, 2, 2}, {1, 1, 3, 3}) == Catch::Approx(1.0 / 7 - 2.0 / 9));  // union 7, hull 9
  CHECK(std::isfinite(
      giou({0.5f, 0.5f, 0.5f, 0.5f}, {0.5f, 0.5f, 0.5f, 0.5f})));  // points: still a number
}

TEST_CASE("the gradient of GIoU is that of finite differences", "[unit]") {
  Rng rng(5);
  for (int trial = 0; trial < 8; ++trial) {
    const at::Tensor a = tensor_of(random_box(rng)).to(at::kDouble),
                     b = tensor_of(random_box(rng)).to(at::kDouble);
    at::Tensor leaf = a.clone().requires_grad_(true);
    paired_overlaps(leaf, b).giou.sum().backward();
    for (std::int64_t i = 0; i < 4; ++i) {
      at::Tensor step = at::zeros_like(a);
      step[0][i] = 1e-6;
      const double slope =
          (paired_overlaps(a + step, b).giou - paired_overlaps(a - step, b).giou).item<double>() /
          2e-6;
      CHECK(leaf.grad()[0][i].item<double>() == Catch::Approx(slope).margin(1e-5));
    }
  }
}

TEST_CASE("corner and centre forms are the same box", "[unit]") {
  const Box corners = cxcywh_to_xyxy(Box{0.5f, 0.25f, 0.2f, 0.1f});
  CHECK(corners[0] == Catch::Approx(0.4));
  CHECK(corners[1] == Catch::Approx(0.2));
  CHECK(corners[2] == Catch::Approx(0.6));
  CHECK(corners[3] == Catch::Approx(0.3));
  CHECK(at::allclose(cxcywh_to_xyxy(at::tensor({0.5f, 0.25f, 0.2f, 0.1f})),
                     at::tensor({0.4f, 0.2f, 0.6f, 0.3f})));
}

TEST_CASE("inverse_sigmoid undoes sigmoid and stays finite at the edges", "[unit]") {
  const at::Tensor x = at::tensor({0.001f, 0.3f, 0.5f, 0.999f});
  CHECK(at::allclose(inverse_sigmoid(x).sigmoid(), x));
  CHECK(inverse_sigmoid(at::tensor({0.0f, 1.0f})).isfinite().all().item<bool>());
}

TEST_CASE("sine features tell places apart", "[unit]") {
  const at::Tensor features = sine_features(at::linspace(0, 1, 50).view({50, 1}), 32);
  CHECK(features.sizes() == at::IntArrayRef({50, 32}));
  at::Tensor distance = at::cdist(features, features) + 10 * at::eye(50);
  CHECK(distance.min().item<float>() > 0.1f);
}

}  // namespace
}  // namespace muster::model
