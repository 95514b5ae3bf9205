#include "model/qwen/vision_plan.h"

#include <algorithm>

#include "model/qwen/layers.h"
#include "model/qwen/merged_grid.h"

namespace muster::model {
namespace {

// Appends one frame's windows to the plan. `first` is the index of the frame's first merged token.
void add_windows(VisionPlan& plan, const MergedGrid& grid, std::int64_t first, std::int64_t side,
                 std::int64_t merge_unit) {
  std::vector<std::vector<std::int64_t>> windows;
  for (std::int64_t y = 0; y < grid.rows; y += side)
    for (std::int64_t x = 0; x < grid.columns; x += side) {
      auto& window = windows.emplace_back();
      for (std::int64_t r = y; r < std::min(y + side, grid.rows); ++r)
        for (std::int64_t c = x; c < std::min(x + side, grid.columns); ++c)
          window.push_back(first + r * grid.columns + c);
    }
  std::stable_sort(windows.begin(), windows.end(),
                   [](const auto& a, const auto& b) { return a.size() > b.size(); });
  for (const auto& window : windows) {
    plan.order.insert(plan.order.end(), window.begin(), window.end());
    plan.cu_windows.push_back(plan.cu_windows.back() +
                              static_cast<std::int64_t>(window.size()) * merge_unit);
  }
}

// Row and column of every patch, in the merged order of the pixel rows: merged row, merged column,
// inner row, inner column. [patches, 2] f32
at::Tensor patch_coordinates(const std::vector<MergedGrid>& grids, std::int64_t merge) {
  std::vector<float> coordinates;
  for (const MergedGrid& grid : grids)
    for (std::int64_t token = 0; token < grid.tokens(); ++token) {
      const std::int64_t in_frame = token % grid.frame_tokens();
      for (std::int64_t inner = 0; inner < merge * merge; ++inner) {
        const std::int64_t row = in_frame / grid.columns * merge + inner / merge;
        const std::int64_t column = in_frame % grid.columns * merge + inner % merge;
        coordinates.push_back(static_cast<float>(row));
        coordinates.push_back(static_cast<float>(column));
      }
    }
  return at::tensor(coordinates, at::kFloat).view({-1, 2});
}

// Half of a head's angles follow the row, half the column.
Rotary vision_rotary(const std::vector<MergedGrid>& grids, const VisionPlan& plan,
                     const VisionConfig& config, at::ScalarType dtype, at::Device device) {
  const at::Tensor frequencies =
      inverse_frequencies(10000.0, config.head_dim() / 2);  // [head_dim / 4]
  const at::Tensor angles =
      patch_coordinates(grids, config.spatial_merge_size).unsqueeze(2) * frequencies;
  const at::Tensor groups =
      angles.reshape({-1, config.merge_unit(), config.head_dim() / 2});  // per merged token
  const at::Tensor visited =
      groups.index_select(0, at::tensor(plan.order, at::kLong)).flatten(0, 1);
  return rotary_of(visited, wide_dtype(dtype), device);
}

}  // namespace

VisionPlan plan_vision(const at::Tensor& grid_thw, const VisionConfig& config, at::ScalarType dtype,
                       at::Device device) {
  const std::vector<MergedGrid> grids = merged_grids(grid_thw, config.spatial_merge_size);
  const std::int64_t unit = config.patch_size * config.spatial_merge_size;
  VisionPlan plan;
  plan.cu_windows = {0};
  plan.cu_frames = {0};
  std::int64_t first = 0;
  for (const MergedGrid& grid : grids)
    for (std::int64_t frame = 0; frame < grid.frames; ++frame, first += grid.frame_tokens()) {
      const std::int64_t side =  // of a window, in merged tokens
          config.window_size > 0 ? config.window_size / unit : std::max(grid.rows, grid.columns);
      add_windows(plan, grid, first, side, config.merge_unit());
      plan.cu_frames.push_back(plan.cu_frames.back() + grid.frame_tokens() * config.merge_unit());
    }
  plan.in_order = std::is_sorted(plan.order.begin(), plan.order.end());
  plan.rotary = vision_rotary(grids, plan, config, dtype, device);
  return plan;
}

}  // namespace muster::model
