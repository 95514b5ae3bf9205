#include "model/head/mixed_rows.h"

#include <ATen/Dispatch.h>
#include <torch/csrc/autograd/custom_function.h>

#include "base/vectorize.h"

namespace muster::model {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

// Who adds what to whom, row by row: forward into the points, backward into the table.
struct Mixing {
  const std::int64_t* cells;
  const float* weights;
  std::int64_t points, per_point, dim;
};

template <typename T>
MUSTER_INLINE void add_scaled(T* to, const T* from, float weight, std::int64_t dim) {
  using Wide = std::conditional_t<std::is_same_v<T, double>, double, float>;
  for (std::int64_t i = 0; i < dim; ++i)
    to[i] += static_cast<T>(Wide{weight} * static_cast<Wide>(from[i]));
}

template <typename T>
MUSTER_INLINE void gather_rows(const Mixing& m, const T* table, T* out) {
  for (std::int64_t k = 0; k < m.points * m.per_point; ++k)
    add_scaled(out + k / m.per_point * m.dim, table + m.cells[k] * m.dim, m.weights[k], m.dim);
}

template <typename T>
MUSTER_INLINE void scatter_rows(const Mixing& m, const T* grad, T* d_table) {
  for (std::int64_t k = 0; k < m.points * m.per_point; ++k)
    add_scaled(d_table + m.cells[k] * m.dim, grad + k / m.per_point * m.dim, m.weights[k], m.dim);
}

template <typename T>
MUSTER_AVX2 void gather_avx2(const Mixing& m, const T* table, T* out) {
  gather_rows(m, table, out);
}

template <typename T>
MUSTER_AVX2 void scatter_avx2(const Mixing& m, const T* grad, T* d_table) {
  scatter_rows(m, grad, d_table);
}

template <typename T>
void gather(const Mixing& m, const T* table, T* out) {
  if (cpu_has_avx2()) return gather_avx2(m, table, out);
  gather_rows(m, table, out);
}

template <typename T>
void scatter(const Mixing& m, const T* grad, T* d_table) {
  if (cpu_has_avx2()) return scatter_avx2(m, grad, d_table);
  scatter_rows(m, grad, d_table);
}

Mixing mixing_of(const at::Tensor& cells, const at::Tensor& weights, std::int64_t dim) {
  return {cells.const_data_ptr<std::int64_t>(), weights.const_data_ptr<float>(), cells.size(0),
          cells.size(1), dim};
}

// On the CPU, where the composite writes and reads every gathered row several times.
class MixRowsFunction : public torch::autograd::Function<MixRowsFunction> {
 public:
  static at::Tensor forward(AutogradContext* ctx, const at::Tensor& table, const at::Tensor& cells,
                            const at::Tensor& weights) {
    ctx->save_for_backward({cells, weights});
    ctx->saved_data["rows"] = table.size(0);
    const at::Tensor rows = table.contiguous();
    at::Tensor out = at::zeros({cells.size(0), table.size(1)}, table.options());
    AT_DISPATCH_FLOATING_TYPES_AND2(at::kBFloat16, at::kHalf, table.scalar_type(), "mix_rows", [&] {
      gather(mixing_of(cells, weights, table.size(1)), rows.const_data_ptr<scalar_t>(),
             out.mutable_data_ptr<scalar_t>());
    });
    return out;
  }
  static variable_list backward(AutogradContext* ctx, variable_list grads) {
    const variable_list saved = ctx->get_saved_variables();
    const at::Tensor grad = grads[0].contiguous();
    at::Tensor d_table = at::zeros({ctx->saved_data["rows"].toInt(), grad.size(1)}, grad.options());
    AT_DISPATCH_FLOATING_TYPES_AND2(
        at::kBFloat16, at::kHalf, grad.scalar_type(), "mix_rows_backward", [&] {
          scatter(mixing_of(saved[0], saved[1], grad.size(1)), grad.const_data_ptr<scalar_t>(),
                  d_table.mutable_data_ptr<scalar_t>());
        });
    return {d_table, {}, {}};
  }
};

}  // namespace

at::Tensor mix_rows(const at::Tensor& table, const at::Tensor& cells, const at::Tensor& weights) {
  if (table.is_cpu())
    return MixRowsFunction::apply(table, cells.contiguous(), weights.contiguous());
  at::Tensor sum;
  for (std::int64_t k = 0; k < cells.size(1); ++k) {  // one gathered tensor at a time
    const at::Tensor part = table.index_select(0, cells.select(1, k)) *
                            weights.select(1, k).unsqueeze(1).to(table.scalar_type());
    sum = sum.defined() ? sum + part : part;
  }
  return sum;
}

}  // namespace muster::model
