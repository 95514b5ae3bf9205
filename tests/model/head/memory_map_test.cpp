#include "model/head/memory_map.h"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/grid_sampler_2d.h>

#include <catch2/catch_approx.hpp>
#include <catch2/catch_test_macros.hpp>
#include <limits>

#include "base/error.h"
#include "model/head/loss_values.h"

namespace muster::model {
namespace {

// Images of 3 x 4, 2 x 2 and 3 x 3 tokens.
TokenLayout mixed_layout() {
  return token_layout(at::tensor({1, 3, 4, 1, 2, 2, 1, 3, 3}, at::kLong).view({3, 3}), 1);
}

TEST_CASE("memory map: tokens lie in rows, and beyond a smaller image's edge is nothing",
          "[unit]") {
  const TokenLayout layout = mixed_layout();
  const MemoryMap places(layout, at::kCPU);
  const at::Tensor tokens = test::noise(1, {3, 12, 2});
  const at::Tensor map = places.spread(tokens);
  REQUIRE(map.sizes() == at::IntArrayRef{3, 3, 4, 2});
  CHECK(at::equal(map[0][2][1], tokens[0][9]));
  CHECK(at::equal(map[1][1][0], tokens[1][2]));
  CHECK(at::equal(map[2][1][2], tokens[2][5]));
  CHECK(map[1][2].abs().max().item<float>() == 0);
  CHECK(map[2].select(1, 3).abs().max().item<float>() == 0);
  const at::Tensor back = places.collect(map);
  for (std::int64_t image = 0; image < 3; ++image)
    CHECK(at::equal(back[image].narrow(0, 0, layout.counts[image]),
                    tokens[image].narrow(0, 0, layout.counts[image])));
}

// The map's values at points, [images, n, dim].
at::Tensor values_at(const MemoryMap& places, const at::Tensor& map, const at::Tensor& points) {
  const MapPoints read = places.at(points.unsqueeze(2));  // one point a query
  const at::Tensor rows = map.flatten(0, 2).index_select(0, read.cells.flatten());
  return (rows.view({-1, 4, map.size(3)}) * read.weights.view({-1, 4, 1}))
      .sum(1)
      .view({points.size(0), points.size(1), map.size(3)});
}

TEST_CASE("memory map: points are read as grid_sampler reads each image alone", "[unit]") {
  const TokenLayout layout = mixed_layout();
  const MemoryMap places(layout, at::kCPU);
  const at::Tensor map = places.spread(test::noise(2, {3, 12, 5}));
  const at::Tensor points = test::noise(3, {3, 40, 2}) * 0.6 + 0.5;  // some outside
  const at::Tensor got = values_at(places, map, points);
  for (std::int64_t image = 0; image < 3; ++image) {
    const at::Tensor own = map[image]
                               .narrow(0, 0, layout.rows[image])
                               .narrow(1, 0, layout.columns[image])
                               .permute({2, 0, 1})
                               .unsqueeze(0);
    constexpr int kBilinear = 0, kBorder = 1;
    const at::Tensor expected =
        at::grid_sampler_2d(own, (points[image] * 2 - 1).view({1, 1, 40, 2}), kBilinear, kBorder,
                            /*align_corners=*/false)
            .view({5, 40})
            .t();
    CHECK(at::allclose(got[image], expected, 1e-5, 1e-6));
  }
  at::Tensor astray = points.clone();
  astray[0][0][0] = std::numeric_limits<float>::quiet_NaN();
  astray[1][0][1] = std::numeric_limits<float>::infinity();
  CHECK(at::equal(values_at(places, map, astray)[2], got[2]));
}

TEST_CASE("memory map: the gradient of points' values goes to their cells", "[unit]") {
  const MemoryMap places(mixed_layout(), at::kCPU);
  const at::Tensor tokens = test::noise(4, {3, 12, 2}).to(at::kDouble).requires_grad_();
  const at::Tensor points = test::noise(5, {3, 7, 2}) * 0.3 + 0.5;
  const at::Tensor weight = test::noise(6, {3, 7, 2});
  const auto sum = [&](const at::Tensor& x) {
    return (values_at(places, places.spread(x), points) * weight).sum();
  };
  sum(tokens).backward();
  const at::Tensor direction = test::noise(7, {3, 12, 2}).to(at::kDouble);
  const at::NoGradGuard no_grad;
  const double slope = (sum(tokens + direction) - sum(tokens - direction)).item<double>() / 2;
  CHECK((tokens.grad() * direction).sum().item<double>() == Catch::Approx(slope));  // it is linear
}

TEST_CASE("memory map: several frames are no map", "[fault]") {
  const TokenLayout film = token_layout(at::tensor({2, 4, 4}, at::kLong).view({1, 3}), 2);
  CHECK_THROWS_AS(MemoryMap(film, at::kCPU), DataError);
}

}  // namespace
}  // namespace muster::model
