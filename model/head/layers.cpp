#include "model/head/layers.h"

#include "model/qwen/upload.h"

namespace muster::model {
namespace {

// Offsets of a grid of points in a box of sides 1 around 0: [points, 2] f32.
at::Tensor grid_offsets() {
  constexpr auto kSide = BoxAttention::kPointsPerSide;
  const at::Tensor line =
      ((at::arange(kSide, at::kFloat) + 0.5) / static_cast<double>(kSide) - 0.5) *
      BoxAttention::kReach;
  const at::Tensor x = line.view({1, kSide}).expand({kSide, kSide});
  return at::stack({x, x.t()}, -1).reshape({kSide * kSide, 2});
}

}  // namespace

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

BoxAttention::BoxAttention(std::int64_t hidden, std::int64_t heads)
    : query(hidden, hidden, true),
      key_value(hidden, 2 * hidden, true),
      output(hidden, hidden, true),
      point(at::zeros({kPointsPerSide * kPointsPerSide, hidden})),
      num_heads(heads) {}

at::Tensor BoxAttention::operator()(const at::Tensor& x, const MemoryView& memory,
                                    const at::Tensor& boxes) const {
  const std::int64_t images = x.size(0), queries = x.size(1), hidden = x.size(2);
  const at::Tensor where = boxes.narrow(-1, 0, 2).unsqueeze(2) +
                           upload(grid_offsets(), boxes.device()) *
                               boxes.narrow(-1, 2, 2).unsqueeze(2);  // [images, queries, points, 2]
  // Reading a map and projecting what was read are both linear: the map, which has fewer cells than
  // all boxes have points, is projected instead.
  const at::Tensor mixed =
      attend_to_points(query(x).flatten(0, 1), key_value(memory.map).flatten(0, 2),
                       at::linear(point, key_value.weight), memory.places->at(where), num_heads);
  return output(mixed.view({images, queries, hidden}));
}

void BoxAttention::visit(const std::string& prefix, const ParamVisitor& visitor) {
  query.visit(prefix + "query.", visitor);
  key_value.visit(prefix + "key_value.", visitor);
  output.visit(prefix + "output.", visitor);
  visitor(prefix + "point", point);
}

ConvBlock::ConvBlock(std::int64_t hidden)
    : norm(hidden),
      in(hidden, hidden / 2, true),
      out(hidden / 2, hidden, true),
      weight(at::empty({hidden / 2, hidden / 2, 3, 3})),
      bias(at::zeros({hidden / 2})) {}

at::Tensor ConvBlock::operator()(const at::Tensor& map, const MemoryMap& places) const {
  const auto kept = [&](const at::Tensor& x) {  // biases and norms fill what is beyond an edge
    return places.inside().defined() ? x * places.inside().to(x.scalar_type()) : x;
  };
  const at::Tensor narrow = kept(at::silu(in(norm(map))));
  const at::Tensor mixed =
      at::conv2d(narrow.permute({0, 3, 1, 2}), weight, bias, 1, 1).permute({0, 2, 3, 1});
  return map + kept(out(at::silu(mixed)));
}

void ConvBlock::visit(const std::string& prefix, const ParamVisitor& visitor) {
  norm.visit(prefix + "norm.", visitor);
  in.visit(prefix + "in.", visitor);
  visitor(prefix + "weight", weight);
  visitor(prefix + "bias", bias);
  out.visit(prefix + "out.", visitor);
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

QueryLayer::QueryLayer(std::int64_t hidden, std::int64_t num_heads, std::int64_t mlp_size,
                       bool box_attention)
    : self_norm(hidden),
      cross_norm(hidden),
      mlp_norm(hidden),
      self_attention(hidden, num_heads),
      mlp({hidden, mlp_size, hidden}) {
  if (box_attention)
    cross_attention = BoxAttention(hidden, num_heads);
  else
    cross_attention = HeadAttention(hidden, num_heads);
}

at::Tensor QueryLayer::operator()(at::Tensor x, const at::Tensor& position, const at::Tensor& boxes,
                                  const at::Tensor& self_mask, const MemoryView& memory) const {
  const at::Tensor own = self_norm(x) + position;
  x = x + self_attention(own, own, self_mask);
  const at::Tensor asked = cross_norm(x) + position;
  const auto* near = std::get_if<BoxAttention>(&cross_attention);
  x = x + (near ? (*near)(asked, memory, boxes)
                : std::get<HeadAttention>(cross_attention)(asked, memory.tokens, memory.mask));
  return x + mlp(mlp_norm(x));
}

void QueryLayer::visit(const std::string& prefix, const ParamVisitor& visitor) {
  self_norm.visit(prefix + "self_norm.", visitor);
  self_attention.visit(prefix + "self_attention.", visitor);
  cross_norm.visit(prefix + "cross_norm.", visitor);
  std::visit([&](auto& a) { a.visit(prefix + "cross_attention.", visitor); }, cross_attention);
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
