// Rotary position embeddings of both towers, and the order in which the vision tower visits its
// patches.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <span>
#include <vector>

#include "model/files/config.h"

namespace muster::model {

// Angles' cosines and sines, [tokens, 1, head_dim / 2]: both halves of a head turn by the same
// angles.
struct Rotary {
  at::Tensor cos, sin;
};

// Turns the pairs (x[i], x[i + head_dim/2]) of each head. x [tokens, heads, head_dim]; computed in
// the dtype of the angles, returned in its own.
at::Tensor rotate(const at::Tensor& x, const Rotary& rotary);

// M-RoPE: frequency i takes its position from row 0 (time), 1 (height) or 2 (width): in runs of
// mrope_section's lengths, or interleaved, 0 1 2 0 1 2 ..., height and width as often as
// mrope_section says, time everywhere else. position_ids [3, tokens] i64 on the CPU. Computed in
// fp32 there, then cast to `dtype`.
Rotary text_rotary(const at::Tensor& position_ids, const TextConfig& config, bool interleaved,
                   at::ScalarType dtype, at::Device device);

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

// M-RoPE positions [3, tokens] i64 of packed samples, exact against transformers' get_rope_index
// per sample.
struct RopeIndex {
  at::Tensor position_ids;           // [3, tokens]
  std::vector<std::int64_t> deltas;  // per sample: max position + 1 - length
};
RopeIndex rope_index(const at::Tensor& input_ids, std::span<const std::int64_t> cu_seqlens,
                     const at::Tensor& grid_thw, const QwenConfig& config);

}  // namespace muster::model
