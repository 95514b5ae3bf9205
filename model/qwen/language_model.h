// The decoder of Qwen2 and Qwen3: token embedding, pre-norm layers with grouped-query attention and
// M-RoPE, final norm.
#pragma once

#include <ATen/core/Tensor.h>

#include <memory>
#include <optional>
#include <vector>

#include "model/files/config.h"
#include "model/files/family.h"
#include "model/qwen/layers.h"
#include "model/qwen/rotary.h"

namespace muster::model {

// Generation keeps the keys and values of one sequence here: there is room for `capacity` tokens,
// which is filled front to back.
struct KvCache {
  KvCache(const TextConfig& config, std::int64_t capacity, const at::TensorOptions& options);
  std::vector<at::Tensor> keys, values;  // per layer [capacity, kv_heads, head_dim]
  std::int64_t length = 0;               // tokens held by every layer
};

// What the vision tower adds after the first decoder layers, level k after layer k.
struct DeepStack {
  at::Tensor rows;                 // [merged tokens] i64: the image tokens' places in the text
  std::vector<at::Tensor> levels;  // each [merged tokens, hidden]; empty where the family has none
};

struct DecoderLayer {
  struct Context {
    Rotary rotary;
    std::vector<std::int64_t> cu_seqlens;
    KvCache* cache = nullptr;  // set in generation only
    std::size_t layer = 0;     // index into the cache
  };

  RmsNorm input_layernorm, post_attention_layernorm;
  Linear q_proj, k_proj, v_proj, o_proj, gate_proj, up_proj, down_proj;
  std::optional<RmsNorm> q_norm, k_norm;  // over head_dim
  std::int64_t head_dim = 1;

  DecoderLayer(const TextConfig& config, const TextFamily& family);
  // [tokens, hidden] -> same
  at::Tensor operator()(const at::Tensor& x, const Context& context) const;
  void visit(const std::string& prefix, const ParamVisitor& visitor);

 private:
  at::Tensor attention(const at::Tensor& x, const Context& context) const;
};

struct LanguageModel {
  TextConfig config;
  TextFamily family;
  at::Tensor embed_tokens;  // [vocab, hidden]
  std::vector<DecoderLayer> layers;
  RmsNorm norm;

  LanguageModel(const TextConfig& config, const TextFamily& family);
  // Goes from embeddings to the final norm. position_ids [3, tokens]; cu_seqlens of the packed
  // samples. With a cache, the tokens continue the one sequence it holds.
  at::Tensor operator()(const at::Tensor& embeds, const DeepStack& deepstack,
                        const at::Tensor& position_ids, const std::vector<std::int64_t>& cu_seqlens,
                        bool recompute_layers, const ForwardGate& gate,
                        KvCache* cache = nullptr) const;
  void visit(const std::string& prefix, const ParamVisitor& visitor);
};

}  // namespace muster::model
