#include "model/head/point_attention.h"

#include <ATen/Dispatch.h>
#include <torch/csrc/autograd/custom_function.h>

#include <algorithm>
#include <cmath>
#include <type_traits>
#include <vector>

#include "base/vectorize.h"

namespace muster::model {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

constexpr std::int64_t kCorners = 4;  // cells around a point

template <typename T>
using WideOf = std::conditional_t<std::is_same_v<T, double>, double, float>;

// What forward and backward read, and the sizes.
template <typename T>
struct Reads {
  const T* query;
  const T* key_values;
  const T* offset;
  const std::int64_t* cells;
  const float* weights;
  std::int64_t queries, points, hidden, heads;

  std::int64_t head_dim() const { return hidden / heads; }
};

template <typename T>
struct Gradients {
  const T* out;
  WideOf<T>* query;
  WideOf<T>* key_values;
  WideOf<T>* offset;
};

// What one query reads and weighs, filled anew for each.
template <typename Wide>
struct Scratch {
  std::vector<Wide> query, key_values, share, d_key_values, d_share;
  explicit Scratch(std::int64_t points, std::int64_t hidden)
      : query(hidden),
        key_values(points * 2 * hidden),
        share(points),
        d_key_values(points * 2 * hidden),
        d_share(points) {}
};

template <typename To, typename From>
MUSTER_INLINE void add_scaled(To* to, const From* from, To scale, std::int64_t n) {
  for (std::int64_t i = 0; i < n; ++i) to[i] += scale * static_cast<To>(from[i]);
}

// In eight lanes: one sum would be taken in an order that cannot be vectorised.
template <typename Wide>
MUSTER_INLINE Wide dot(const Wide* a, const Wide* b, std::int64_t n) {
  constexpr std::int64_t kLanes = 8;
  Wide lane[kLanes] = {};
  std::int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes)
    for (std::int64_t k = 0; k < kLanes; ++k) lane[k] += a[i + k] * b[i + k];
  for (; i < n; ++i) lane[0] += a[i] * b[i];
  Wide sum = 0;
  for (const Wide part : lane) sum += part;
  return sum;
}

template <typename T, typename Wide>
MUSTER_INLINE void read_points(const Reads<T>& r, std::int64_t query, Scratch<Wide>& s) {
  const std::int64_t width = 2 * r.hidden;
  std::copy_n(r.query + query * r.hidden, r.hidden, s.query.data());
  std::copy_n(r.offset, r.points * width, s.key_values.data());
  const std::int64_t first = query * r.points * kCorners;
  for (std::int64_t k = 0; k < r.points * kCorners; ++k)
    add_scaled(s.key_values.data() + k / kCorners * width,
               r.key_values + r.cells[first + k] * width, static_cast<Wide>(r.weights[first + k]),
               width);
}

// s.share becomes the softmax over the points of query . key / sqrt(head_dim).
template <typename Wide>
MUSTER_INLINE void weigh_points(Scratch<Wide>& s, std::int64_t head, std::int64_t hidden,
                                std::int64_t head_dim) {
  const Wide scale = 1 / std::sqrt(static_cast<Wide>(head_dim));
  const auto points = static_cast<std::int64_t>(s.share.size());
  const Wide* query = s.query.data() + head * head_dim;
  for (std::int64_t p = 0; p < points; ++p)
    s.share[p] =
        scale * dot(query, s.key_values.data() + p * 2 * hidden + head * head_dim, head_dim);
  const Wide largest = *std::max_element(s.share.begin(), s.share.end());
  Wide sum = 0;
  for (Wide& share : s.share) {
    share = std::exp(share - largest);
    sum += share;
  }
  for (Wide& share : s.share) share /= sum;
}

template <typename T>
MUSTER_INLINE void attend_body(const Reads<T>& r, T* out) {
  using Wide = WideOf<T>;
  const std::int64_t dim = r.head_dim();
  Scratch<Wide> s(r.points, r.hidden);
  std::vector<Wide> mixed(dim);
  for (std::int64_t i = 0; i < r.queries; ++i) {
    read_points(r, i, s);
    for (std::int64_t head = 0; head < r.heads; ++head) {
      weigh_points(s, head, r.hidden, dim);
      std::fill(mixed.begin(), mixed.end(), Wide{0});
      for (std::int64_t p = 0; p < r.points; ++p)
        add_scaled(mixed.data(), s.key_values.data() + (2 * p + 1) * r.hidden + head * dim,
                   s.share[p], dim);
      std::copy(mixed.begin(), mixed.end(), out + i * r.hidden + head * dim);
    }
  }
}

// One head of one query: d_out [head_dim] into s.d_key_values and d_query [head_dim].
template <typename Wide>
MUSTER_INLINE void head_backward(Scratch<Wide>& s, const Wide* d_out, Wide* d_query,
                                 std::int64_t head, std::int64_t hidden, std::int64_t dim) {
  weigh_points(s, head, hidden, dim);
  const auto points = static_cast<std::int64_t>(s.share.size());
  const Wide scale = 1 / std::sqrt(static_cast<Wide>(dim));
  Wide mean = 0;
  for (std::int64_t p = 0; p < points; ++p) {
    const std::int64_t value = (2 * p + 1) * hidden + head * dim;
    s.d_share[p] = dot(d_out, s.key_values.data() + value, dim);
    mean += s.share[p] * s.d_share[p];
    add_scaled(s.d_key_values.data() + value, d_out, s.share[p], dim);
  }
  for (std::int64_t p = 0; p < points; ++p) {
    const std::int64_t key = 2 * p * hidden + head * dim;
    const Wide d_score = scale * s.share[p] * (s.d_share[p] - mean);
    add_scaled(d_query, s.key_values.data() + key, d_score, dim);
    add_scaled(s.d_key_values.data() + key, s.query.data() + head * dim, d_score, dim);
  }
}

template <typename T>
MUSTER_INLINE void attend_backward_body(const Reads<T>& r, const Gradients<T>& d) {
  using Wide = WideOf<T>;
  const std::int64_t dim = r.head_dim(), width = 2 * r.hidden;
  Scratch<Wide> s(r.points, r.hidden);
  std::vector<Wide> d_out(r.hidden);
  for (std::int64_t i = 0; i < r.queries; ++i) {
    read_points(r, i, s);
    std::copy_n(d.out + i * r.hidden, r.hidden, d_out.data());
    std::fill(s.d_key_values.begin(), s.d_key_values.end(), Wide{0});
    for (std::int64_t head = 0; head < r.heads; ++head)
      head_backward(s, d_out.data() + head * dim, d.query + i * r.hidden + head * dim, head,
                    r.hidden, dim);
    add_scaled(d.offset, s.d_key_values.data(), Wide{1}, r.points * width);
    const std::int64_t first = i * r.points * kCorners;
    for (std::int64_t k = 0; k < r.points * kCorners; ++k)
      add_scaled(d.key_values + r.cells[first + k] * width,
                 s.d_key_values.data() + k / kCorners * width,
                 static_cast<Wide>(r.weights[first + k]), width);
  }
}

template <typename T>
MUSTER_AVX2 void attend_avx2(const Reads<T>& r, T* out) {
  attend_body(r, out);
}

template <typename T>
MUSTER_AVX2 void attend_backward_avx2(const Reads<T>& r, const Gradients<T>& d) {
  attend_backward_body(r, d);
}

template <typename T>
void attend(const Reads<T>& r, T* out) {
  if (cpu_has_avx2()) return attend_avx2(r, out);
  attend_body(r, out);
}

template <typename T>
void attend_backward(const Reads<T>& r, const Gradients<T>& d) {
  if (cpu_has_avx2()) return attend_backward_avx2(r, d);
  attend_backward_body(r, d);
}

template <typename T>
Reads<T> reads_of(const at::Tensor& query, const at::Tensor& key_values, const at::Tensor& offset,
                  const MapPoints& points, std::int64_t heads) {
  return {query.const_data_ptr<T>(),
          key_values.const_data_ptr<T>(),
          offset.const_data_ptr<T>(),
          points.cells.const_data_ptr<std::int64_t>(),
          points.weights.const_data_ptr<float>(),
          query.size(0),
          offset.size(0),
          query.size(1),
          heads};
}

// On the CPU, where the composite writes and reads every point's keys and values several times.
class PointAttentionFunction : public torch::autograd::Function<PointAttentionFunction> {
 public:
  static at::Tensor forward(AutogradContext* ctx, const at::Tensor& query,
                            const at::Tensor& key_values, const at::Tensor& offset,
                            const at::Tensor& cells, const at::Tensor& weights,
                            std::int64_t heads) {
    ctx->save_for_backward({query, key_values, offset, cells, weights});
    ctx->saved_data["heads"] = heads;
    at::Tensor out = at::empty_like(query);
    AT_DISPATCH_FLOATING_TYPES_AND2(
        at::kBFloat16, at::kHalf, query.scalar_type(), "attend_to_points", [&] {
          const auto r = reads_of<scalar_t>(query, key_values, offset, {cells, weights}, heads);
          attend(r, out.mutable_data_ptr<scalar_t>());
        });
    return out;
  }

  static variable_list backward(AutogradContext* ctx, variable_list grads) {
    const variable_list saved = ctx->get_saved_variables();
    const at::Tensor &query = saved[0], &key_values = saved[1], &offset = saved[2];
    const at::Tensor grad = grads[0].contiguous();
    const at::ScalarType dtype = query.scalar_type();
    const auto wide = query.options().dtype(dtype == at::kDouble ? at::kDouble : at::kFloat);
    at::Tensor d_query = at::zeros(query.sizes(), wide);
    at::Tensor d_key_values = at::zeros(key_values.sizes(), wide);
    at::Tensor d_offset = at::zeros(offset.sizes(), wide);
    AT_DISPATCH_FLOATING_TYPES_AND2(
        at::kBFloat16, at::kHalf, dtype, "attend_to_points_backward", [&] {
          using Wide = WideOf<scalar_t>;
          const auto r = reads_of<scalar_t>(query, key_values, offset, {saved[3], saved[4]},
                                            ctx->saved_data["heads"].toInt());
          const Gradients<scalar_t> d{
              grad.const_data_ptr<scalar_t>(), d_query.mutable_data_ptr<Wide>(),
              d_key_values.mutable_data_ptr<Wide>(), d_offset.mutable_data_ptr<Wide>()};
          attend_backward(r, d);
        });
    return {d_query.to(dtype), d_key_values.to(dtype), d_offset.to(dtype), {}, {}, {}};
  }
};

at::Tensor attend_by_composite(const at::Tensor& query, const at::Tensor& key_values,
                               const at::Tensor& offset, const MapPoints& points,
                               std::int64_t heads) {
  const std::int64_t queries = query.size(0), count = offset.size(0);
  const std::int64_t head_dim = query.size(1) / heads;
  at::Tensor seen;
  for (std::int64_t k = 0; k < kCorners; ++k) {  // one gathered tensor at a time
    const at::Tensor weight = points.weights.select(2, k).reshape({-1, 1});
    const at::Tensor part = key_values.index_select(0, points.cells.select(2, k).flatten()) *
                            weight.to(key_values.scalar_type());
    seen = seen.defined() ? seen + part : part;
  }
  const at::Tensor kv = (seen.view({queries, count, -1}) + offset)
                            .view({queries, count, 2, heads, head_dim})
                            .transpose(1, 3);
  const at::Tensor q = query.view({queries, 1, heads, head_dim}).transpose(1, 2);
  return at::scaled_dot_product_attention(q, kv.select(2, 0), kv.select(2, 1))
      .reshape(query.sizes());
}

}  // namespace

at::Tensor attend_to_points(const at::Tensor& query, const at::Tensor& key_values,
                            const at::Tensor& offset, const MapPoints& points, std::int64_t heads) {
  TORCH_CHECK(points.cells.size(2) == kCorners && points.cells.size(1) == offset.size(0),
              "attend_to_points: ", points.cells.sizes(), " cells for ", offset.size(0), " points");
  if (!key_values.is_cpu()) return attend_by_composite(query, key_values, offset, points, heads);
  return PointAttentionFunction::apply(query.contiguous(), key_values.contiguous(),
                                       offset.contiguous(), points.cells.contiguous(),
                                       points.weights.contiguous(), heads);
}

}  // namespace muster::model
