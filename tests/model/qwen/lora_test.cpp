#include "model/qwen/lora.h"

#include <ATen/core/grad_mode.h>
#include <catch2/catch_test_macros.hpp>

#include "base/rng.h"
#include "model/memory_meter.h"
#include "model/qwen/lora_dropout.h"
#include "model/qwen/shapes.h"
#include "model/qwen/small_model.h"

using namespace muster;
using namespace muster::model;
using namespace muster::test;

namespace {

const auto kDouble = at::TensorOptions(at::kDouble);

struct Parts {
  at::Tensor x, weight, bias;
  Lora lora;
};

// One layer of 6 -> 5 with a random adapter of rank 3, in fp64.
Parts random_layer(bool dora, double dropout = 0) {
  at::manual_seed(3);
  Parts parts{
      .x = at::randn({2, 4, 6}, kDouble).requires_grad_(),
      .weight = at::randn({5, 6}, kDouble),
      .bias = at::randn({5}, kDouble),
      .lora = Lora({.rank = 3, .scale = 0.7, .dropout = dropout, .dora = dora}, "layer", 6, 5)};
  parts.lora.a = at::randn({3, 6}, kDouble).requires_grad_();
  parts.lora.b = at::randn({5, 3}, kDouble).requires_grad_();
  if (dora) parts.lora.magnitude = at::rand({5}, kDouble).add_(0.5).requires_grad_();
  return parts;
}

// The gradients of a loss that weighs every output differently: of x, A, B and the magnitudes.
std::vector<at::Tensor> gradients_of(Parts& parts, const at::Tensor& y) {
  (y * at::arange(y.numel(), kDouble).view_as(y).sin()).sum().backward();
  std::vector<at::Tensor> grads;
  for (at::Tensor* tensor : {&parts.x, &parts.lora.a, &parts.lora.b, &parts.lora.magnitude}) {
    if (!tensor->defined()) continue;
    grads.push_back(tensor->grad());
    tensor->mutable_grad().reset();
  }
  return grads;
}

void check_close(const std::vector<at::Tensor>& ours, const std::vector<at::Tensor>& oracle) {
  REQUIRE(ours.size() == oracle.size());
  for (std::size_t i = 0; i < ours.size(); ++i) {
    CAPTURE(i);
    CHECK(at::allclose(ours[i], oracle[i], 1e-12, 1e-12));
  }
}

at::Tensor composed_weight(const Parts& parts) {
  at::Tensor sum = parts.weight + parts.lora.scale * at::mm(parts.lora.b, parts.lora.a);
  if (!parts.lora.magnitude.defined()) return sum;
  const at::Tensor norm = at::linalg_vector_norm(sum, 2, 1).detach();
  return sum * (parts.lora.magnitude / norm).unsqueeze(1);
}

LoraOptions everywhere(const QwenConfig& config, double dropout, bool dora = false) {
  return {.rank = 2,
          .scale = 2,
          .dropout = dropout,
          .dora = dora,
          .seed = 5,
          .layers = adaptable_layers(config)};
}

QwenVL small_lora(double dropout, bool recompute, bool dora = false) {
  const QwenConfig config = small_config();
  QwenVL qwen = QwenVL::random(config,
                               {.checkpoint_vision = recompute,
                                .checkpoint_language = recompute,
                                .lora = everywhere(config, dropout, dora)},
                               1);
  at::manual_seed(8);
  for (const NamedParam& p : qwen.parameters()) {
    if (is_lora_b(p.name)) at::Tensor(p.tensor).normal_(0, 0.1);
    p.tensor.requires_grad_(is_adapter(p.name));
  }
  return qwen;
}

}  // namespace

TEST_CASE("an adapted layer is the layer of W + scale B A, in values and gradients", "[unit]") {
  for (const bool dora : {false, true}) {
    CAPTURE(dora);
    Parts parts = random_layer(dora);
    const at::Tensor ours = lora_linear(parts.x, parts.weight, parts.bias, parts.lora);
    const std::vector<at::Tensor> our_grads = gradients_of(parts, ours);
    const at::Tensor oracle = at::linear(parts.x, composed_weight(parts), parts.bias);
    CHECK(at::allclose(ours, oracle, 1e-12, 1e-12));
    check_close(our_grads, gradients_of(parts, oracle));
  }
}

TEST_CASE("a layer without a bias, and one whose weight trains, give the same", "[unit]") {
  Parts parts = random_layer(false);
  const at::Tensor ours = lora_linear(parts.x, parts.weight, {}, parts.lora);
  const std::vector<at::Tensor> our_grads = gradients_of(parts, ours);
  parts.weight.requires_grad_();
  const at::Tensor composed = lora_linear(parts.x, parts.weight, {}, parts.lora);
  CHECK(at::allclose(ours, composed, 1e-12, 1e-12));
  check_close(our_grads, gradients_of(parts, composed));
  CHECK(parts.weight.grad().defined());
}

TEST_CASE("dropout drops the adapter's input alone, the same in backward", "[unit]") {
  for (const bool dora : {false, true}) {
    CAPTURE(dora);
    Parts parts = random_layer(dora, 0.4);
    CHECK(at::equal(lora_linear(parts.x, parts.weight, parts.bias, parts.lora),
                    lora_linear(parts.x, parts.weight, parts.bias, random_layer(dora).lora)));
    parts.lora.drop_seed = 9;
    const at::Tensor ours = lora_linear(parts.x, parts.weight, parts.bias, parts.lora);
    const std::vector<at::Tensor> our_grads = gradients_of(parts, ours);

    const std::uint64_t key = seed_of(9, hash_name("layer"));
    const at::Tensor kept = keep_factors(parts.x.detach().view({8, 6}), 0.4, key).view_as(parts.x);
    const at::Tensor d = parts.x * kept;  // PEFT: its DoRA sees the dropped input in W's product
    const at::Tensor factor = dora ? parts.lora.magnitude / adapted_norms(parts.weight, parts.lora)
                                   : at::ones({5}, kDouble);
    const at::Tensor through = at::linear(at::linear(d, parts.lora.a), parts.lora.b);
    const at::Tensor oracle = at::linear(parts.x, parts.weight, parts.bias) +
                              (factor - 1) * at::linear(d, parts.weight) +
                              factor * through * parts.lora.scale;
    CHECK(at::allclose(ours, oracle, 1e-12, 1e-12));
    check_close(our_grads, gradients_of(parts, oracle));
  }
}

TEST_CASE("keep_factors keeps its share, scaled, and is a function of its key", "[unit]") {
  const at::Tensor x = at::empty({400, 250});
  const at::Tensor factors = keep_factors(x, 0.25, 7);
  CHECK(at::equal(factors, keep_factors(x, 0.25, 7)));
  CHECK_FALSE(at::equal(factors, keep_factors(x, 0.25, 8)));
  const double kept = factors.ne(0).to(at::kDouble).mean().item<double>();
  CHECK(std::abs(kept - 0.75) < 0.005);  // four deviations of 100,000 draws
  CHECK(factors.max().item<float>() == static_cast<float>(1 / 0.75));
}

TEST_CASE("a merged weight is W + (B A) scale to the last bit in fp32", "[unit]") {
  for (const bool dora : {false, true}) {
    Parts parts = random_layer(dora);
    const at::NoGradGuard no_graph;
    for (at::Tensor* t : {&parts.weight, &parts.lora.a, &parts.lora.b, &parts.lora.magnitude})
      if (t->defined()) *t = t->to(at::kFloat);
    at::Tensor expected = parts.weight + at::matmul(parts.lora.b, parts.lora.a) * parts.lora.scale;
    if (dora) {
      const at::Tensor factor = parts.lora.magnitude / at::linalg_vector_norm(expected, 2, 1);
      expected = factor.view({-1, 1}) * expected;
    }
    CHECK(at::equal(merged_weight(parts.weight, parts.lora), expected));
    const at::Tensor half = merged_weight(parts.weight.to(at::kBFloat16), parts.lora);
    CHECK(half.scalar_type() == at::kBFloat16);
    CHECK(at::allclose(half.to(at::kFloat), expected, 0.02, 0.02));
  }
}

TEST_CASE("fresh adapters change nothing, and frozen weights get no gradient", "[unit]") {
  const QwenConfig config = small_config();
  const MicroBatch batch = small_batch({{{8, 8}}, {}}, 6);
  for (const bool dora : {false, true}) {
    CAPTURE(dora);
    const QwenVL plain = QwenVL::random(config, {}, 1);
    const QwenVL fresh = QwenVL::random(config, {.lora = everywhere(config, 0, dora)}, 1);
    const at::Tensor wanted = plain.forward(batch).hidden, got = fresh.forward(batch).hidden;
    CHECK((dora ? at::allclose(got, wanted, 1e-4, 1e-5) : at::equal(got, wanted)));
  }
  const QwenVL qwen = small_lora(0, false);
  const std::vector<at::Tensor> grads = gradients(qwen, batch);
  const std::vector<NamedParam> params = qwen.parameters();
  for (std::size_t i = 0; i < params.size(); ++i) {
    CAPTURE(params[i].name);
    CHECK(grads[i].defined() == is_adapter(params[i].name));
  }
}

TEST_CASE("recomputed blocks drop what the first run dropped", "[unit]") {
  const MicroBatch batch = small_batch({{{8, 8}}, {{4, 4}}}, 6);
  const auto run = [&](bool recompute, std::uint64_t seed, bool dora) {
    QwenVL qwen = small_lora(0.3, recompute, dora);
    qwen.set_dropout(seed);
    return gradients(qwen, batch);
  };
  for (const bool dora : {false, true}) {
    CAPTURE(dora);
    const auto plain = run(false, 4, dora), again = run(true, 4, dora), other = run(false, 5, dora);
    std::size_t different = 0, adapters = 0;
    for (std::size_t i = 0; i < plain.size(); ++i) {
      if (!plain[i].defined()) continue;
      ++adapters;
      CHECK(at::equal(plain[i], again[i]));
      different += at::equal(plain[i], other[i]) ? 0 : 1;
    }
    CHECK(adapters > 0);
    CHECK(different == adapters);  // the control: another seed drops something else everywhere
  }
}

TEST_CASE("a cast model has the adapters, too", "[unit]") {
  const MicroBatch batch = small_batch({{{8, 8}}}, 6);
  const QwenVL qwen = small_lora(0, false);
  const at::Tensor wide = qwen.cast(at::kDouble).forward(batch).hidden;
  CHECK(at::allclose(wide, qwen.forward(batch).hidden.to(at::kDouble), 1e-4, 1e-5));
  CHECK_FALSE(at::allclose(
      wide, QwenVL::random(small_config(), {}, 1).forward(batch).hidden.to(at::kDouble), 1e-4,
      1e-5));
}

TEST_CASE("an adapted layer keeps its input and the narrow product for backward", "[unit]") {
  const at::Tensor x = at::randn({512, 64}).requires_grad_();
  const at::Tensor weight = at::randn({64, 64});
  Lora lora({.rank = 4, .dropout = 0.5}, "layer", 64, 64);
  lora.a = at::randn({4, 64}).requires_grad_();
  lora.b = at::randn({64, 4}).requires_grad_();
  lora.drop_seed = 1;
  const muster::test::MemoryMeter meter;
  const at::Tensor y = lora_linear(x, weight, {}, lora);
  CHECK(meter.held() < 512 * 64 * 4 + 2 * 512 * 4 * 4);  // the output, x A^T and no mask
}
