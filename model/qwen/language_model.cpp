#include "model/qwen/language_model.h"

#include "model/qwen/attention.h"
#include "model/qwen/fused.h"
#include "model/qwen/recompute.h"

namespace muster::model {

KvCache::KvCache(const TextConfig& config, std::int64_t capacity,
                 const at::TensorOptions& options) {
  for (std::int64_t i = 0; i < config.num_layers; ++i) {
    keys.push_back(at::empty({capacity, config.num_kv_heads, config.head_dim}, options));
    values.push_back(at::empty({capacity, config.num_kv_heads, config.head_dim}, options));
  }
}

DecoderLayer::DecoderLayer(const TextConfig& c, const TextFamily& family)
    : input_layernorm(c.hidden_size, c.rms_norm_eps, at::kMeta),
      post_attention_layernorm(c.hidden_size, c.rms_norm_eps, at::kMeta),
      q_proj(c.hidden_size, c.num_heads * c.head_dim, family.qkv_bias, at::kMeta),
      k_proj(c.hidden_size, c.num_kv_heads * c.head_dim, family.qkv_bias, at::kMeta),
      v_proj(c.hidden_size, c.num_kv_heads * c.head_dim, family.qkv_bias, at::kMeta),
      o_proj(c.num_heads * c.head_dim, c.hidden_size, false, at::kMeta),
      gate_proj(c.hidden_size, c.intermediate_size, false, at::kMeta),
      up_proj(c.hidden_size, c.intermediate_size, false, at::kMeta),
      down_proj(c.intermediate_size, c.hidden_size, false, at::kMeta),
      head_dim(c.head_dim) {
  if (!family.qk_norm) return;
  q_norm.emplace(c.head_dim, c.rms_norm_eps, at::kMeta);
  k_norm.emplace(c.head_dim, c.rms_norm_eps, at::kMeta);
}

at::Tensor DecoderLayer::attention(const at::Tensor& x, const Context& context) const {
  const auto heads = [&](const Linear& projection) {
    return projection(x).unflatten(1, {-1, head_dim});
  };
  const auto turned = [&](const at::Tensor& part, const std::optional<RmsNorm>& head_norm) {
    return rotate(head_norm ? (*head_norm)(part) : part, context.rotary);
  };
  const at::Tensor q = turned(heads(q_proj), q_norm);
  const at::Tensor k = turned(heads(k_proj), k_norm);
  const at::Tensor v = heads(v_proj);
  if (context.cache == nullptr) return o_proj(attend(q, k, v, context.cu_seqlens, true).flatten(1));
  at::Tensor& keys = context.cache->keys[context.layer];
  at::Tensor& values = context.cache->values[context.layer];
  const std::int64_t held = context.cache->length;
  const std::int64_t all = held + x.size(0);
  keys.narrow(0, held, x.size(0)).copy_(k);
  values.narrow(0, held, x.size(0)).copy_(v);
  if (held == 0) return o_proj(attend(q, k, v, context.cu_seqlens, true).flatten(1));
  return o_proj(attend_cached(q, keys.narrow(0, 0, all), values.narrow(0, 0, all)).flatten(1));
}

at::Tensor DecoderLayer::operator()(const at::Tensor& input, const Context& context) const {
  const at::Tensor x = input + attention(input_layernorm(input), context);
  const at::Tensor y = post_attention_layernorm(x);
  return x + down_proj(silu_mul(gate_proj(y), up_proj(y)));
}

void DecoderLayer::visit(const std::string& prefix, const ParamVisitor& visitor) {
  input_layernorm.visit(prefix + "input_layernorm.", visitor);
  q_proj.visit(prefix + "self_attn.q_proj.", visitor);
  k_proj.visit(prefix + "self_attn.k_proj.", visitor);
  v_proj.visit(prefix + "self_attn.v_proj.", visitor);
  if (q_norm) q_norm->visit(prefix + "self_attn.q_norm.", visitor);
  if (k_norm) k_norm->visit(prefix + "self_attn.k_norm.", visitor);
  o_proj.visit(prefix + "self_attn.o_proj.", visitor);
  post_attention_layernorm.visit(prefix + "post_attention_layernorm.", visitor);
  gate_proj.visit(prefix + "mlp.gate_proj.", visitor);
  up_proj.visit(prefix + "mlp.up_proj.", visitor);
  down_proj.visit(prefix + "mlp.down_proj.", visitor);
}

LanguageModel::LanguageModel(const TextConfig& c, const TextFamily& f)
    : config(c),
      family(f),
      embed_tokens(
          at::empty({c.vocab_size, c.hidden_size}, at::device(at::kMeta).dtype(at::kFloat))),
      norm(c.hidden_size, c.rms_norm_eps, at::kMeta) {
  for (std::int64_t i = 0; i < c.num_layers; ++i) layers.emplace_back(c, f);
}

at::Tensor LanguageModel::operator()(const at::Tensor& embeds, const DeepStack& deepstack,
                                     const at::Tensor& position_ids,
                                     const std::vector<std::int64_t>& cu_seqlens,
                                     bool recompute_layers, const ForwardGate& gate,
                                     KvCache* cache) const {
  DecoderLayer::Context context{text_rotary(position_ids, config, family.interleaved_mrope,
                                            embeds.scalar_type(), embeds.device()),
                                cu_seqlens, cache};
  at::Tensor x = embeds;
  for (std::size_t i = 0; i < layers.size(); ++i) {
    if (gate) gate("model.layers." + std::to_string(i) + ".");
    context.layer = i;
    x = recompute_layers ? recompute_block(layers[i], x, context) : layers[i](x, context);
    if (i < deepstack.levels.size()) x = x.index_add(0, deepstack.rows, deepstack.levels[i]);
  }
  if (cache != nullptr) cache->length += embeds.size(0);
  if (gate) gate("model.norm.");
  return norm(x);
}

void LanguageModel::visit(const std::string& prefix, const ParamVisitor& visitor) {
  visitor(prefix + "embed_tokens.weight", embed_tokens);
  for (std::size_t i = 0; i < layers.size(); ++i)
    layers[i].visit(prefix + "layers." + std::to_string(i) + ".", visitor);
  norm.visit(prefix + "norm.", visitor);
}

}  // namespace muster::model
