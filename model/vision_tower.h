// Qwen2.5-VL's vision tower: patches in, merged tokens of the language model's width out. Windowed attention in most
// blocks, whole frames in a few.
#pragma once

#include <ATen/core/Tensor.h>

#include <memory>
#include <vector>

#include "model/config.h"
#include "model/layers.h"
#include "model/rope.h"

namespace muster::model {

struct VisionBlock {
  // The batch's tables and which segments this block attends in. Shared, because recomputation outlives the forward
  // pass.
  struct Context {
    std::shared_ptr<const VisionPlan> plan;
    bool full_attention = false;
  };

  RmsNorm norm1, norm2;
  Linear qkv, proj, gate_proj, up_proj, down_proj;
  std::int64_t num_heads = 1;

  explicit VisionBlock(const VisionConfig& config);
  at::Tensor operator()(const at::Tensor& x, const Context& context) const;  // [patches, hidden] -> same
  void visit(const std::string& prefix, const ParamVisitor& visitor);

 private:
  at::Tensor attention(const at::Tensor& x, const Context& context) const;
};

struct VisionTower {
  VisionConfig config;
  Linear patch_embed;  // weight as published: [hidden, channels, frames, height, width]
  std::vector<VisionBlock> blocks;
  RmsNorm merger_norm;
  Linear merger_in, merger_out;

  explicit VisionTower(const VisionConfig& config);
  // pixel_values [patches, patch_dim] or [N, C, H, W], in the weights' dtype; grid_thw [images, 3]. -> [merged tokens,
  // out_hidden], in image order. Throws DataError when the two do not fit each other.
  at::Tensor operator()(const at::Tensor& pixel_values, const at::Tensor& grid_thw, bool recompute_blocks,
                        const ForwardGate& gate) const;
  void visit(const std::string& prefix, const ParamVisitor& visitor);

 private:
  at::Tensor merge(const at::Tensor& x, const VisionPlan& plan) const;
};

// [N, C, H, W] -> [N * H/p * W/p, C * frames * p * p] in merged order; each still image is repeated for all frames.
at::Tensor patchify(const at::Tensor& images, const VisionConfig& config);

}  // namespace muster::model
