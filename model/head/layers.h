// The detection head's own layers: dense batches [images, queries, hidden] with additive masks,
// pre-norm.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <string>
#include <vector>

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
  HeadAttention self_attention, cross_attention;
  Mlp mlp;
  QueryLayer() = default;
  QueryLayer(std::int64_t hidden, std::int64_t num_heads, std::int64_t mlp_size);
  // x, position [images, queries, hidden]; memory [images, tokens, hidden] with its positions
  // added.
  at::Tensor operator()(at::Tensor x, const at::Tensor& position, const at::Tensor& self_mask,
                        const at::Tensor& memory, const at::Tensor& memory_mask) const;
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
