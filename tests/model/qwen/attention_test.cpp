#include "model/qwen/attention.h"

#include <ATen/core/grad_mode.h>

#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>
#include <cmath>

using namespace muster::model;

namespace {

// The definition, one head and one query at a time, in double.
at::Tensor naive(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                 const std::vector<std::int64_t>& cu, bool causal) {
  at::Tensor out = at::zeros_like(q);
  const std::int64_t group = q.size(1) / k.size(1);
  for (std::size_t s = 0; s + 1 < cu.size(); ++s)
    for (std::int64_t h = 0; h < q.size(1); ++h)
      for (std::int64_t t = cu[s]; t < cu[s + 1]; ++t) {
        const std::int64_t n = (causal ? t + 1 : cu[s + 1]) - cu[s];
        const auto keys = k.narrow(0, cu[s], n).select(1, h / group),
                   values = v.narrow(0, cu[s], n).select(1, h / group);
        const auto p = (keys.mv(q[t][h]) / std::sqrt(static_cast<double>(q.size(2)))).softmax(0);
        out[t][h].copy_(values.t().mv(p));
      }
  return out;
}

at::Tensor leaf(std::vector<std::int64_t> shape) {
  return at::randn(shape, at::kDouble).requires_grad_();
}

}  // namespace

TEST_CASE("attend equals the definition, with gradients", "[unit]") {
  at::manual_seed(1);
  const auto cu =
      GENERATE(std::vector<std::int64_t>{0, 7}, std::vector<std::int64_t>{0, 4, 8, 8, 9, 12},
               std::vector<std::int64_t>{0, 3, 6, 9});
  const bool causal = GENERATE(false, true);
  const std::int64_t kv = GENERATE(4, 2, 1), tokens = cu.back();
  const at::Tensor q = leaf({tokens, 4, 8}), k = leaf({tokens, kv, 8}), v = leaf({tokens, kv, 8});
  const at::Tensor weights = at::randn({tokens, 4, 8}, at::kDouble);
  (attend(q, k, v, cu, causal) * weights).sum().backward();
  const at::Tensor dq = q.grad().clone(), dk = k.grad().clone(), dv = v.grad().clone();
  for (const at::Tensor& x : {q, k, v}) x.mutable_grad().reset();
  const at::Tensor expected = naive(q.detach(), k.detach(), v.detach(), cu, causal);
  CHECK(at::allclose(attend(q, k, v, cu, causal), expected, 1e-9, 1e-11));
  // Gradients against central differences of the definition along one direction per input.
  for (const auto& [x, dx] : {std::pair{q, dq}, {k, dk}, {v, dv}}) {
    const at::Tensor direction = at::randn_like(x.detach());
    const auto shifted = [&](double h) {
      const at::NoGradGuard off;
      x.add_(direction, h);
      const double value = (naive(q, k, v, cu, causal) * weights).sum().item<double>();
      x.add_(direction, -h);
      return value;
    };
    const double slope = (shifted(1e-5) - shifted(-1e-5)) / 2e-5;
    CHECK(std::abs(slope - (dx * direction).sum().item<double>()) < 1e-6 * (1 + std::abs(slope)));
  }
}

TEST_CASE("a segment's attention does not depend on the segments beside it", "[unit]") {
  at::manual_seed(2);
  const at::Tensor q = at::randn({96, 4, 16}), k = at::randn({96, 2, 16}),
                   v = at::randn({96, 2, 16});
  const std::vector<std::int64_t> all{0, 32, 64, 96}, one{0, 32};
  const at::Tensor packed = attend(q, k, v, all, true).narrow(0, 32, 32);
  CHECK(at::equal(
      packed, attend(q.narrow(0, 32, 32), k.narrow(0, 32, 32), v.narrow(0, 32, 32), one, true)));
  const std::vector<std::int64_t> merged{
      0, 64, 96};  // negative control: seeing a neighbour changes the result
  CHECK(!at::allclose(packed, attend(q, k, v, merged, true).narrow(0, 32, 32)));
}

TEST_CASE("attend_cached equals the last row of attend", "[unit]") {
  const at::Tensor q = at::randn({9, 4, 8}), k = at::randn({9, 2, 8}), v = at::randn({9, 2, 8});
  const std::vector<std::int64_t> cu{0, 9};
  CHECK(at::allclose(attend_cached(q.narrow(0, 8, 1), k, v),
                     attend(q, k, v, cu, true).narrow(0, 8, 1), 1e-5, 1e-6));
}
