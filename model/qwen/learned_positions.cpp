#include "model/qwen/learned_positions.h"

#include <cmath>
#include <vector>

#include "model/qwen/upload.h"

namespace muster::model {
namespace {

// The four table entries around every patch, and how much of each: [4, patches].
struct Corners {
  at::Tensor index, weight;
};

// Returns the entries below and above each of `length` patches along one axis, [2, length].
Corners along(std::int64_t length, std::int64_t side) {
  const at::Tensor place = at::linspace(0, static_cast<double>(side - 1), length, at::kFloat);
  const at::Tensor below = place.to(at::kLong);
  const at::Tensor above = (below + 1).clamp_max(side - 1);
  const at::Tensor rest = place - below;
  return {at::stack({below, above}), at::stack({1 - rest, rest})};
}

// Returns those of one frame of rows x columns patches, in merged order.
Corners frame_corners(std::int64_t rows, std::int64_t columns, std::int64_t merge,
                      std::int64_t side) {
  const Corners y = along(rows, side), x = along(columns, side);
  // [2, 1, rows, 1]
  const auto cross = [&](const at::Tensor& a) { return a.unsqueeze(1).unsqueeze(3); };
  const auto merged = [&](const at::Tensor& grid) {  // [2, 2, rows, columns]
    return grid.reshape({4, rows / merge, merge, columns / merge, merge})
        .permute({0, 1, 3, 2, 4})
        .reshape({4, -1});
  };
  return {merged(cross(y.index) * side + x.index.unsqueeze(0).unsqueeze(2)),
          merged(cross(y.weight) * x.weight.unsqueeze(0).unsqueeze(2))};
}

Corners all_corners(const at::Tensor& grid_thw, std::int64_t merge, std::int64_t side) {
  const at::Tensor grid = grid_thw.to(at::kCPU, at::kLong).contiguous();
  const std::int64_t* g = grid.const_data_ptr<std::int64_t>();
  std::vector<at::Tensor> index, weight;
  for (std::int64_t image = 0; image < grid.size(0); ++image, g += 3) {
    const Corners corners = frame_corners(g[1], g[2], merge, side);
    index.push_back(corners.index.repeat({1, g[0]}));
    weight.push_back(corners.weight.repeat({1, g[0]}));
  }
  return {at::cat(index, 1), at::cat(weight, 1)};
}

}  // namespace

at::Tensor learned_positions(const at::Tensor& table, const at::Tensor& grid_thw,
                             std::int64_t merge) {
  const auto side =
      static_cast<std::int64_t>(std::llround(std::sqrt(static_cast<double>(table.size(0)))));
  const Corners corners = all_corners(grid_thw, merge, side);
  const at::Tensor index = upload(corners.index, table.device());
  const at::Tensor weight =
      upload(corners.weight, table.device()).to(table.scalar_type()).unsqueeze(2);
  at::Tensor sum;
  for (std::int64_t c = 0; c < 4; ++c) {
    const at::Tensor part = at::embedding(table, index[c]) * weight[c];
    sum = sum.defined() ? sum + part : part;
  }
  return sum;
}

}  // namespace muster::model
