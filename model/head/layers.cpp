#include "model/head/layers.h"

namespace muster::model {

HeadAttention::HeadAttention(std::int64_t hidden, std::int64_t heads)
    : query(hidden, hidden, true),
      key_value(hidden, 2 * hidden, true),
      output(hidden, hidden, true),
      num_heads(heads) {}

at::Tensor HeadAttention::operator()(const at::Tensor& x, const at::Tensor& memory,
                                     const at::Tensor& mask, bool causal) const {
  return read(x, key_value(memory), mask, causal);
}

at::Tensor HeadAttention::read(const at::Tensor& x, const at::Tensor& key_values,
                               const at::Tensor& mask, bool causal) const {
  const std::int64_t batch = x.size(0), hidden = x.size(2), head_dim = hidden / num_heads;
  const at::Tensor q = query(x).view({batch, x.size(1), num_heads, head_dim}).transpose(1, 2);
  const at::Tensor kv =
      key_values.view({batch, key_values.size(1), 2, num_heads, head_dim}).transpose(1, 3);
  const std::optional<at::Tensor> bias =
      mask.defined() ? std::optional<at::Tensor>(mask) : std::nullopt;
  const at::Tensor mixed =
      at::scaled_dot_product_attention(q, kv.select(2, 0), kv.select(2, 1), bias, 0.0, causal);
  return output(mixed.transpose(1, 2).reshape({batch, x.size(1), hidden}));
}

void HeadAttention::visit(const std::string& prefix, const ParamVisitor& visitor) {
  query.visit(prefix + "query.", visitor);
  key_value.visit(prefix + "key_value.", visitor);
  output.visit(prefix + "output.", visitor);
}

Mlp::Mlp(const std::vector<std::int64_t>& sizes) {
  for (std::size_t i = 0; i + 1 < sizes.size(); ++i)
    layers.emplace_back(sizes[i], sizes[i + 1], true);
}

at::Tensor Mlp::operator()(const at::Tensor& x) const {
  at::Tensor y = layers.front()(x);
  for (std::size_t i = 1; i < layers.size(); ++i) y = layers[i](at::relu(y));
  return y;
}

void Mlp::visit(const std::string& prefix, const ParamVisitor& visitor) {
  for (std::size_t i = 0; i < layers.size(); ++i)
    layers[i].visit(prefix + std::to_string(i) + ".", visitor);
}

QueryLayer::QueryLayer(std::int64_t hidden, std::int64_t num_heads, std::int64_t mlp_size)
    : self_norm(hidden),
      cross_norm(hidden),
      mlp_norm(hidden),
      self_attention(hidden, num_heads),
      cross_attention(hidden, num_heads),
      mlp({hidden, mlp_size, hidden}) {}

at::Tensor QueryLayer::operator()(at::Tensor x, const at::Tensor& position,
                                  const at::Tensor& self_mask, const at::Tensor& memory,
                                  const at::Tensor& memory_mask) const {
  const at::Tensor own = self_norm(x) + position;
  x = x + self_attention(own, own, self_mask);
  x = x + cross_attention(cross_norm(x) + position, memory, memory_mask);
  return x + mlp(mlp_norm(x));
}

void QueryLayer::visit(const std::string& prefix, const ParamVisitor& visitor) {
  self_norm.visit(prefix + "self_norm.", visitor);
  self_attention.visit(prefix + "self_attention.", visitor);
  cross_norm.visit(prefix + "cross_norm.", visitor);
  cross_attention.visit(prefix + "cross_attention.", visitor);
  mlp_norm.visit(prefix + "mlp_norm.", visitor);
  mlp.visit(prefix + "mlp.", visitor);
}

CausalLayer::CausalLayer(std::int64_t hidden, std::int64_t num_heads, std::int64_t mlp_size)
    : attention_norm(hidden),
      mlp_norm(hidden),
      attention(hidden, num_heads),
      mlp({hidden, mlp_size, hidden}) {}

at::Tensor CausalLayer::operator()(at::Tensor x) const {
  const at::Tensor own = attention_norm(x);
  x = x + attention(own, own, {}, true);
  return x + mlp(mlp_norm(x));
}

at::Tensor CausalLayer::next(at::Tensor x, at::Tensor& cache) const {
  const at::Tensor own = attention_norm(x), newest = attention.key_value(own);
  cache = cache.defined() ? at::cat({cache, newest}, 1) : newest;
  x = x + attention.read(own, cache, {}, false);  // the newest position sees everything
  return x + mlp(mlp_norm(x));
}

void CausalLayer::visit(const std::string& prefix, const ParamVisitor& visitor) {
  attention_norm.visit(prefix + "attention_norm.", visitor);
  attention.visit(prefix + "attention.", visitor);
  mlp_norm.visit(prefix + "mlp_norm.", visitor);
  mlp.visit(prefix + "mlp.", visitor);
}

}  // namespace muster::model
