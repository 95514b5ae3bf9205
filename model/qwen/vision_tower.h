// The vision tower: patches in, merged tokens of the language model's width out.
#pragma once

#include <ATen/core/Tensor.h>

#include <memory>
#include <optional>
#include <string_view>
#include <variant>
#include <vector>

#include "model/files/config.h"
#include "model/files/family.h"
#include "model/qwen/layers.h"
#include "model/qwen/vision_plan.h"

namespace muster::model {

// The norm of the family.
struct VisionNorm {
  std::variant<RmsNorm, LayerNorm> norm;
  VisionNorm(std::int64_t dim, const VisionFamily& family);
  at::Tensor operator()(const at::Tensor& x) const;
  void visit(const std::string& prefix, const ParamVisitor& visitor);
};

// What VisionMlp widens its middle to, with zeros, for 16-bit products on a GPU: rows of whole 128
// bytes unless they are of whole 16. 3420, the width of the published towers, leaves the tensor
// cores to kernels of a third of the speed.
std::int64_t tensor_core_width(std::int64_t width);

struct VisionMlp {
  VisionFamily family;
  Linear gate, in, out;  // gate: undefined where the family has none

  VisionMlp(const VisionConfig& config, const VisionFamily& family);
  at::Tensor operator()(const at::Tensor& x) const;
  void visit(const std::string& prefix, const ParamVisitor& visitor);
};

struct VisionBlock {
  // The batch's tables and which segments this block attends in. Shared, because recomputation
  // outlives the forward pass.
  struct Context {
    std::shared_ptr<const VisionPlan> plan;
    bool full_attention = false;
  };

  VisionNorm norm1, norm2;
  Linear qkv, proj;
  VisionMlp mlp;
  std::int64_t num_heads = 1;

  VisionBlock(const VisionConfig& config, const VisionFamily& family);
  // [patches, hidden] -> same
  at::Tensor operator()(const at::Tensor& x, const Context& context) const;
  void visit(const std::string& prefix, const ParamVisitor& visitor);

 private:
  at::Tensor attention(const at::Tensor& x, const Context& context) const;
};

// Groups of merge_unit patches into one token of the decoder's width each.
struct PatchMerger {
  VisionFamily family;
  bool norm_groups;    // the norm spans a whole group; else each patch
  std::int64_t group;  // hidden_size * merge_unit
  VisionNorm norm;
  Linear in, out;

  PatchMerger(const VisionConfig& config, const VisionFamily& family, bool norm_groups);
  // [patches, hidden] -> [merged tokens, out_hidden]
  at::Tensor operator()(const at::Tensor& x) const;
  void visit(const std::string& prefix, const ParamVisitor& visitor);
};

// What a pass through the tower does beside its work.
struct VisionPass {
  bool recompute_blocks = false;
  bool keep_patches = false;  // VisionOutput::patches
  bool merge = true;          // VisionOutput::embeds and deepstack
};

struct VisionOutput {
  at::Tensor embeds;                  // [merged tokens, out_hidden], in image order
  at::Tensor patches;                 // [patches, hidden] before merging, row by row of each image
  std::vector<at::Tensor> deepstack;  // per level the same shape
};

struct VisionTower {
  VisionConfig config;
  Linear patch_embed;    // weight as published: [hidden, channels, frames, height, width]
  at::Tensor pos_embed;  // [num_positions, hidden], undefined where the family has none
  std::vector<VisionBlock> blocks;
  PatchMerger merger;
  std::vector<PatchMerger> deepstack_mergers;  // one per deepstack block

  VisionTower(const VisionConfig& config, const VisionFamily& family);
  // pixel_values [patches, patch_dim] or [N, C, H, W], in the weights' dtype; grid_thw [images, 3].
  // Throws DataError when the two do not fit each other.
  VisionOutput operator()(const at::Tensor& pixel_values, const at::Tensor& grid_thw,
                          const VisionPass& pass, const ForwardGate& gate) const;
  void visit(const std::string& prefix, const ParamVisitor& visitor);

 private:
  at::Tensor embed(const at::Tensor& patches, const at::Tensor& grid_thw, const VisionPlan& plan,
                   const ForwardGate& gate) const;
  // Which merger reads this block's states.
  std::optional<std::size_t> deepstack_level(std::size_t block) const;
};

// [N, C, H, W] -> [N * H/p * W/p, C * frames * p * p] in merged order; each still image is repeated
// for all frames.
at::Tensor patchify(const at::Tensor& images, const VisionConfig& config);

}  // namespace muster::model
