// The detection head's own layers: dense batches [images, queries, hidden] with additive masks,
// pre-norm.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <memory>
#include <string>
#include <variant>
#include <vector>

#include "model/head/memory_map.h"
#include "model/qwen/layers.h"

namespace muster::model {

// Multi-head attention from x [batch, n, hidden] to memory [batch, m, hidden].
struct HeadAttention {
  Linear query, key_value, output;
  std::int64_t num_heads = 1;
  HeadAttention() = default;
  HeadAttention(std::int64_t hidden, std::int64_t num_heads);
  // mask: additive, broadcastable to [batch, heads, n, m], or undefined.
  at::Tensor operator()(const at::Tensor& x, const at::Tensor& memory, const at::Tensor& mask,
                        bool causal = false) const;
  // The same with the memory projected already: key_values = key_value(memory), [batch, m, 2 *
  // hidden].
  at::Tensor read(const at::Tensor& x, const at::Tensor& key_values, const at::Tensor& mask,
                  bool causal) const;
  void visit(const std::string& prefix, const ParamVisitor& visitor);
};

// What queries may read. Points of boxes are read from `map`, everything from `tokens`.
struct MemoryView {
  // [images, tokens, hidden] with their positions added; undefined when boxes are read.
  at::Tensor tokens;
  at::Tensor mask;  // additive, of their attention; or undefined
  at::Tensor map;   // [images, rows, columns, hidden]; undefined unless boxes are read
  std::shared_ptr<const MemoryMap> places;  // of the map
};

// Attention of each query to a grid of points over its own box alone, a fifth wider than the box,
// as deformable attention's (Zhu et al., ICLR 2021) with points that follow from the box instead of
// being learned: a query looks where it is from the first step.
struct BoxAttention {
  static constexpr std::int64_t kPointsPerSide = 5;
  static constexpr double kReach = 1.2;  // sides of the grid over sides of the box

  Linear query, key_value, output;
  at::Tensor point;  // [points, hidden]: what tells them apart
  std::int64_t num_heads = 1;
  BoxAttention() = default;
  BoxAttention(std::int64_t hidden, std::int64_t num_heads);
  // x [images, queries, hidden]; boxes [images, queries, 4] f32, cx,cy,w,h in [0,1].
  at::Tensor operator()(const at::Tensor& x, const MemoryView& memory,
                        const at::Tensor& boxes) const;
  void visit(const std::string& prefix, const ParamVisitor& visitor);
};

// x + out(silu(conv(silu(in(norm(x)))))): a 3 x 3 convolution at half the width between two linear
// layers (ResNet's bottleneck, He et al., 2015), as the residual blocks of the projector between a
// ViT and its decoder (LW-DETR, Chen et al., 2024; RF-DETR).
struct ConvBlock {
  LayerNorm norm;
  Linear in, out;           // hidden to half of it and back
  at::Tensor weight, bias;  // [half, half, 3, 3], [half]
  ConvBlock() = default;
  explicit ConvBlock(std::int64_t hidden);
  // map [images, rows, columns, hidden]; what lies beyond an image's edge stays zero.
  at::Tensor operator()(const at::Tensor& map, const MemoryMap& places) const;
  void visit(const std::string& prefix, const ParamVisitor& visitor);
};

// Linear layers with ReLU between them.
struct Mlp {
  std::vector<Linear> layers;
  Mlp() = default;
  explicit Mlp(const std::vector<std::int64_t>& sizes);
  at::Tensor operator()(const at::Tensor& x) const;
  void visit(const std::string& prefix, const ParamVisitor& visitor);
};

// Self-attention among an image's queries, cross-attention to its memory, MLP.
struct QueryLayer {
  LayerNorm self_norm, cross_norm, mlp_norm;
  HeadAttention self_attention;
  std::variant<HeadAttention, BoxAttention> cross_attention;
  Mlp mlp;
  QueryLayer() = default;
  QueryLayer(std::int64_t hidden, std::int64_t num_heads, std::int64_t mlp_size,
             bool box_attention);
  // x, position [images, queries, hidden]; boxes [images, queries, 4] f32 in [0,1]: where they
  // look.
  at::Tensor operator()(at::Tensor x, const at::Tensor& position, const at::Tensor& boxes,
                        const at::Tensor& self_mask, const MemoryView& memory) const;
  void visit(const std::string& prefix, const ParamVisitor& visitor);
};

// Causal self-attention and MLP, for captions.
struct CausalLayer {
  LayerNorm attention_norm, mlp_norm;
  HeadAttention attention;
  Mlp mlp;
  CausalLayer() = default;
  CausalLayer(std::int64_t hidden, std::int64_t num_heads, std::int64_t mlp_size);
  at::Tensor operator()(at::Tensor x) const;  // [captions, length, hidden]
  // The position after those in `cache` [captions, length, 2 * hidden] (undefined: the first),
  // which grows by it.
  at::Tensor next(at::Tensor x, at::Tensor& cache) const;  // [captions, 1, hidden]
  void visit(const std::string& prefix, const ParamVisitor& visitor);
};

}  // namespace muster::model
