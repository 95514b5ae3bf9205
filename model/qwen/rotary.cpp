#include "model/qwen/rotary.h"

#include <torch/csrc/autograd/custom_function.h>

#include <algorithm>
#include <vector>

#include "model/qwen/fused.h"
#include "model/qwen/upload.h"

namespace muster::model {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

// out1 = x1 cos - x2 sin, out2 = x2 cos + x1 sin
at::Tensor turn(const at::Tensor& x, const at::Tensor& cos, const at::Tensor& sin,
                double direction) {
  if (fused_fits(x)) return fused_turn(x, cos, sin, direction);
  const std::int64_t half = x.size(-1) / 2;
  const at::Tensor x1 = x.narrow(-1, 0, half), x2 = x.narrow(-1, half, half);
  at::Tensor out = at::empty(x.sizes(), x.options());
  at::Tensor out1 = out.narrow(-1, 0, half), out2 = out.narrow(-1, half, half);
  at::mul_out(out1, x1, cos).addcmul_(x2, sin, -direction);
  at::mul_out(out2, x2, cos).addcmul_(x1, sin, direction);
  return out;
}

// A rotation's gradient is the rotation back; nothing of x is kept.
class RotateFunction : public torch::autograd::Function<RotateFunction> {
 public:
  static at::Tensor forward(AutogradContext* ctx, const at::Tensor& x, const at::Tensor& cos,
                            const at::Tensor& sin) {
    ctx->save_for_backward({cos, sin});
    return turn(x, cos, sin, 1);
  }
  static variable_list backward(AutogradContext* ctx, variable_list grads) {
    const variable_list saved = ctx->get_saved_variables();
    return {turn(grads[0], saved[0], saved[1], -1), {}, {}};
  }
};

// Which row of the positions each frequency follows, [head_dim / 2]. Interleaved sections may reach
// over the end, where transformers' slices stop.
std::vector<std::int64_t> mrope_rows(const std::vector<std::int64_t>& section, std::int64_t half,
                                     bool interleaved) {
  std::vector<std::int64_t> rows;
  if (!interleaved) {
    for (std::size_t row = 0; row < section.size(); ++row)
      rows.insert(rows.end(), section[row], static_cast<std::int64_t>(row));
    return rows;
  }
  rows.assign(half, 0);
  for (std::int64_t row = 1; row < static_cast<std::int64_t>(section.size()); ++row)
    for (std::int64_t i = row; i < std::min(3 * section[row], half); i += 3) rows[i] = row;
  return rows;
}

}  // namespace

at::Tensor inverse_frequencies(double theta, std::int64_t dim) {
  const at::Tensor exponents =
      at::arange(0, dim, 2, at::kLong).to(at::kFloat) / static_cast<double>(dim);
  return 1.0 / at::pow(at::Scalar(theta), exponents);
}

Rotary rotary_of(const at::Tensor& angles, at::ScalarType dtype, at::Device device) {
  const at::Tensor there = upload(angles, device);
  return {there.cos().to(dtype).unsqueeze(1), there.sin().to(dtype).unsqueeze(1)};
}

at::Tensor rotate(const at::Tensor& x, const Rotary& rotary) {
  const at::ScalarType type = rotary.cos.scalar_type();
  if (fused_fits(x) || x.scalar_type() == type)
    return RotateFunction::apply(x, rotary.cos, rotary.sin);
  return RotateFunction::apply(x.to(type), rotary.cos, rotary.sin).to(x.scalar_type());
}

Rotary text_rotary(const at::Tensor& position_ids, const TextConfig& config, bool interleaved,
                   at::ScalarType dtype, at::Device device) {
  const at::Tensor frequencies = inverse_frequencies(config.rope_theta, config.head_dim);
  const at::Tensor rows =
      at::tensor(mrope_rows(config.mrope_section, config.head_dim / 2, interleaved), at::kLong);
  const at::Tensor positions =
      position_ids.to(at::kFloat).index_select(0, rows).t();  // [tokens, head_dim / 2]
  return rotary_of(positions * frequencies, dtype, device);
}

}  // namespace muster::model
