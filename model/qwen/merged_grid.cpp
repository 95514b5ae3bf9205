#include "model/qwen/merged_grid.h"

#include <fmt/core.h>

#include "base/error.h"

namespace muster::model {

std::vector<MergedGrid> merged_grids(const at::Tensor& grid_thw, std::int64_t merge) {
  TORCH_CHECK(grid_thw.dim() == 2 && grid_thw.size(1) == 3, "image_grid_thw must be [images, 3]");
  const at::Tensor grid = grid_thw.to(at::kCPU, at::kLong).contiguous();
  const std::int64_t* g = grid.const_data_ptr<std::int64_t>();
  std::vector<MergedGrid> grids;
  for (std::int64_t i = 0; i < grid.size(0); ++i, g += 3) {
    if (g[0] < 1 || g[1] < merge || g[2] < merge || g[1] % merge != 0 || g[2] % merge != 0)
      throw DataError(
          fmt::format("image {} of the batch: grid {} x {} x {} patches does not divide into {} x "
                      "{} merged tokens; resize images with smart_resize",
                      i, g[0], g[1], g[2], merge, merge));
    grids.push_back({g[0], g[1] / merge, g[2] / merge});
  }
  return grids;
}

}  // namespace muster::model
