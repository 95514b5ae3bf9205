// The order in which the vision tower visits its patches, and the tables that go with it.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

#include "model/files/config.h"
#include "model/qwen/rotary.h"

namespace muster::model {

// The vision tower's order and tables for one batch of images. Patches are visited window by
// window, in groups of merge_unit (one merged token), so that every window is a contiguous segment.
// Inside an image the windows are sorted by size, whole ones first, so that attention can batch
// them; the tower's output is put back into image order. Without windows the order is the image's
// and every frame is one.
struct VisionPlan {
  std::vector<std::int64_t> order;       // [merged tokens]: the merged token that is visited k-th
  std::vector<std::int64_t> cu_windows;  // in patches
  std::vector<std::int64_t> cu_frames;   // in patches
  Rotary rotary;          // of the patches in visiting order, fp32 (fp64 in an fp64 model)
  bool in_order = false;  // order is 0, 1, 2, ...
};

// grid_thw [images, 3] i64 on the CPU, in patches. Throws DataError when a grid does not divide
// into merged tokens.
VisionPlan plan_vision(const at::Tensor& grid_thw, const VisionConfig& config, at::ScalarType dtype,
                       at::Device device);

}  // namespace muster::model
