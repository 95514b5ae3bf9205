#include "model/qwen/layers.h"

#include <catch2/catch_test_macros.hpp>

using namespace muster::model;

TEST_CASE("RMSNorm and its gradients equal the definition", "[unit]") {
  at::manual_seed(5);
  RmsNorm norm(6, 1e-3);
  norm.weight = at::randn({6}, at::kDouble).requires_grad_();
  const at::Tensor x = at::randn({4, 3, 6}, at::kDouble).requires_grad_(),
                   weights = at::randn({4, 3, 6}, at::kDouble);
  const at::Tensor plain = x * at::rsqrt(x.square().mean(-1, true) + 1e-3) * norm.weight;
  (plain * weights).sum().backward();
  const at::Tensor d_x = x.grad().clone(), d_weight = norm.weight.grad().clone();
  at::Tensor(x).mutable_grad().reset();
  norm.weight.mutable_grad().reset();
  (norm(x) * weights).sum().backward();
  CHECK(at::allclose(norm(x), plain));
  CHECK(at::allclose(x.grad(), d_x));
  CHECK(at::allclose(norm.weight.grad(), d_weight));
}

TEST_CASE("RMSNorm computes bf16 in fp32 and casts before the weight", "[unit]") {
  RmsNorm norm(64, 1e-6);
  norm.weight = at::randn({64}).to(at::kBFloat16);
  const at::Tensor x = (at::randn({8, 64}) * 100).to(at::kBFloat16), wide = x.to(at::kFloat);
  const at::Tensor expected =
      norm.weight * (wide * at::rsqrt(wide.square().mean(-1, true) + 1e-6)).to(at::kBFloat16);
  CHECK(at::equal(norm(x), expected));
}
