// The model on a GPU against the model on the CPU. SKIPs without a GPU.
#include <ATen/core/grad_mode.h>

#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>
#include <map>

#include "model/detector.h"
#include "model/head/loss_values.h"
#include "model/qwen/attention.h"
#include "model/qwen/fused.h"
#include "model/qwen/rotary.h"
#include "model/qwen/small_model.h"
#include "model/tiny_detector.h"
#include "support/cuda_or_skip.h"

using namespace muster;
using namespace muster::model;
using namespace muster::test;

namespace {

// |a - b| / |b|, in double on the CPU; NaN never passes a comparison with it.
double distance(const at::Tensor& a, const at::Tensor& b) {
  const at::Tensor x = a.detach().to(at::kCPU, at::kDouble),
                   y = b.detach().to(at::kCPU, at::kDouble);
  return ((x - y).norm() / y.norm().clamp_min(1e-12)).item<double>();
}

struct Attended {
  at::Tensor out, dq, dk, dv;
};

Attended attend_all(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                    const at::Tensor& weights, const std::vector<std::int64_t>& cu, bool causal) {
  const auto leaf = [](const at::Tensor& x) { return x.detach().clone().requires_grad_(); };
  const at::Tensor a = leaf(q), b = leaf(k), c = leaf(v), out = attend(a, b, c, cu, causal);
  (out * weights).sum().backward();
  return {out.detach(), a.grad(), b.grad(), c.grad()};
}

QwenOptions on(at::Device device, at::ScalarType dtype = at::kFloat, bool recompute = false) {
  return {.dtype = dtype,
          .device = device,
          .checkpoint_vision = recompute,
          .checkpoint_language = recompute,
          .logits_chunk_tokens = 7};
}

const at::Device kGpu = at::kCUDA, kHost = at::kCPU;

struct Trained {
  double loss = 0;
  std::vector<at::Tensor> grads;
};

Trained train(const QwenConfig& config, const QwenOptions& options, const MicroBatch& batch) {
  const QwenVL qwen = QwenVL::random(config, options, 3);
  train_all(qwen);
  const double loss = qwen.lm_loss_sum(qwen.forward(batch).hidden, batch).item<double>();
  return {loss, gradients(qwen, batch)};
}

// The largest distance of a gradient or the loss; NaN when one is.
double worst(const Trained& a, const Trained& b) {
  at::Tensor all = at::tensor({std::abs(a.loss / b.loss - 1)}, at::kDouble);
  for (std::size_t i = 0; i < a.grads.size(); ++i)
    all = at::cat({all, at::tensor({distance(a.grads[i], b.grads[i])}, at::kDouble)});
  return all.max().item<double>();
}

Detector tiny(at::Device device) {
  Detector detector =
      Detector::create(QwenVL::random(tiny_qwen(), on(device), 4), tiny_head(), kCaptionEnd, 4);
  for (const NamedParam& param : detector.parameters()) param.tensor.set_requires_grad(true);
  return detector;
}

}  // namespace

TEST_CASE("varlen flash attention on a GPU follows the CPU's, with gradients", "[gpu]") {
  cuda_or_skip();
  at::manual_seed(1);
  const auto type = GENERATE(at::kBFloat16, at::kHalf, at::kFloat);
  const auto cu = GENERATE(std::vector<std::int64_t>{0, 130},
                           std::vector<std::int64_t>{0, 0, 64, 64, 128, 129, 200, 200},
                           std::vector<std::int64_t>{0, 16, 32, 48, 64, 80, 96, 100, 101});
  const bool causal = GENERATE(false, true);
  const std::int64_t dim = GENERATE(16, 80, 128, 12),
                     kv = GENERATE(4, 2);  // 12: no flash kernel takes it
  const auto random = [&](std::int64_t heads) {
    return at::randn({cu.back(), heads, dim}).to(type);
  };
  const at::Tensor q = random(4), k = random(kv), v = random(kv), weights = random(4);
  const auto wide = [](const at::Tensor& x) { return x.to(at::kDouble); };
  const Attended expected = attend_all(wide(q), wide(k), wide(v), wide(weights), cu, causal);
  const Attended found =
      attend_all(q.to(kGpu), k.to(kGpu), v.to(kGpu), weights.to(kGpu), cu, causal);
  CAPTURE(c10::toString(type), cu, causal, dim, kv);
  const double allowed_of_half = type == at::kHalf ? 2e-3 : 1.5e-2;
  const double allowed = type == at::kFloat ? 1e-5 : allowed_of_half;
  CHECK(distance(found.out, expected.out) < allowed);
  CHECK(distance(found.dq, expected.dq) < allowed);
  CHECK(distance(found.dk, expected.dk) < allowed);
  CHECK(distance(found.dv, expected.dv) < allowed);
}

TEST_CASE("fused kernels on a GPU follow the CPU's definition, with gradients", "[gpu]") {
  cuda_or_skip();
  at::manual_seed(2);
  const auto type = GENERATE(at::kFloat, at::kBFloat16, at::kHalf);
  const std::int64_t dim = GENERATE(80, 10);  // 10: element by element
  const double allowed = type == at::kFloat ? 1e-6 : 5e-3;
  CAPTURE(c10::toString(type), dim);
  const at::Tensor qkv = at::randn({37, 3, 4, dim}).to(type), angles = at::randn({37, 1, dim / 2});
  const at::Tensor weights = at::randn({37, 4, dim});
  const auto turned = [&](at::Device device, at::ScalarType in) {
    const at::Tensor leaf = qkv.to(device, in).detach().requires_grad_();
    const at::Tensor out =
        rotate(leaf.select(1, 1), {angles.cos().to(device), angles.sin().to(device)});
    (out * weights.to(device, in)).sum().backward();
    return std::pair(out.detach(), leaf.grad());
  };
  const auto [host_out, host_grad] = turned(kHost, at::kFloat);
  const auto [gpu_out, gpu_grad] = turned(kGpu, type);
  CHECK(gpu_out.scalar_type() == type);
  CHECK(distance(gpu_out, host_out) < allowed);
  CHECK(distance(gpu_grad, host_grad) < allowed);

  const at::Tensor a = at::randn({33, dim}).to(type), b = at::randn({33, dim}).to(type);
  const auto gated = [&](at::Device device, at::ScalarType in) {
    const at::Tensor x = a.to(device, in).detach().requires_grad_(),
                     y = b.to(device, in).detach().requires_grad_();
    const at::Tensor out = silu_mul(x, y);
    (out * weights.flatten().narrow(0, 0, 33 * dim).view({33, dim}).to(device, in))
        .sum()
        .backward();
    return std::vector<at::Tensor>{out.detach(), x.grad(), y.grad()};
  };
  const auto host = gated(kHost, at::kDouble), gpu = gated(kGpu, type);
  for (std::size_t i = 0; i < host.size(); ++i) CHECK(distance(gpu[i], host[i]) < allowed);
}

TEST_CASE("segments on a GPU do not see each other", "[gpu]") {
  cuda_or_skip();
  const auto options = at::TensorOptions(kGpu).dtype(at::kBFloat16);
  const at::Tensor q = at::randn({96, 4, 16}, options), k = at::randn({96, 2, 16}, options),
                   v = at::randn({96, 2, 16}, options);
  const std::vector<std::int64_t> all{0, 32, 64, 96}, one{0, 32}, merged{0, 64, 96};
  const at::Tensor packed = attend(q, k, v, all, true).narrow(0, 32, 32);
  CHECK(distance(packed, attend(q.narrow(0, 32, 32), k.narrow(0, 32, 32), v.narrow(0, 32, 32), one,
                                true)) < 1e-3);
  CHECK(distance(packed, attend(q, k, v, merged, true).narrow(0, 32, 32)) >
        0.1);  // negative control
}

TEST_CASE("loss and gradients of every family agree between GPU and CPU", "[gpu]") {
  cuda_or_skip();
  const std::string family = GENERATE("qwen2_5_vl", "qwen2_vl", "qwen3_vl");
  CAPTURE(family);
  QwenConfig config = small_family(family);
  config.vision.intermediate_size = 46;  // rows that are no whole 16 bytes
  const std::int64_t dim = 3 * 2 * config.vision.patch_size * config.vision.patch_size;
  const MicroBatch batch = small_batch({{{8, 12}}, {}, {{4, 4}, {12, 8}}}, 9, 5, dim);
  const Trained host = train(config, on(kHost), batch), gpu = train(config, on(kGpu), batch);
  CHECK(worst(gpu, host) < 3e-5);
  const Trained half = train(config, on(kGpu, at::kBFloat16), batch);
  const Trained host_half = train(config, on(kHost, at::kBFloat16), batch);
  // Two bf16 runs differ from fp32 by about as much; the GPU's may not be the worse one by far.
  CHECK(worst(half, host) < 2 * worst(host_half, host) + 0.02);
}

TEST_CASE("on a GPU the same step has the same bits, recomputed or not", "[gpu]") {
  cuda_or_skip();
  const auto type = GENERATE(at::kFloat, at::kBFloat16);
  const MicroBatch batch = small_batch({{{8, 12}}, {{4, 4}, {4, 4}}}, 9);
  const Trained first = train(small_config(), on(kGpu, type), batch),
                again = train(small_config(), on(kGpu, type), batch);
  const Trained recomputed = train(small_config(), on(kGpu, type, true), batch);
  CHECK(first.loss == again.loss);
  CHECK(first.loss == recomputed.loss);
  for (std::size_t i = 0; i < first.grads.size(); ++i) {
    CHECK(at::equal(first.grads[i], again.grads[i]));
    CHECK(at::equal(first.grads[i], recomputed.grads[i]));
  }
}

TEST_CASE("a detector's terms, gradients and detections agree between GPU and CPU", "[gpu]") {
  cuda_or_skip();
  const MicroBatch batch = image_batch({{4, 4}, {8, 4}, {8, 8}}, 1);
  std::map<at::DeviceType, std::map<std::string, double>> terms;
  std::map<at::DeviceType, std::vector<at::Tensor>> grads;
  std::map<at::DeviceType, std::vector<std::vector<Detection>>> found;
  for (const at::Device device : {kHost, kGpu}) {
    Detector detector = tiny(device);
    const std::vector<LossTerm> loss = detector.loss(batch, loss_options(1), 5);
    at::Tensor total = at::zeros({}, at::TensorOptions(device));
    for (const LossTerm& term : loss) total = total + term.sum;
    total.backward();
    terms[device.type()] = values(loss);
    for (const NamedParam& p : detector.parameters())
      grads[device.type()].push_back(p.tensor.grad());
    detector.set_training(false);
    found[device.type()] = detector.detect(batch);
  }
  for (const auto& [name, value] : terms[at::kCPU]) {
    CAPTURE(name, value);
    CHECK(std::abs(terms[at::kCUDA].at(name) - value) <= 1e-4 * std::abs(value));
  }
  for (std::size_t i = 0; i < grads[at::kCPU].size(); ++i)
    CHECK(distance(grads[at::kCUDA][i], grads[at::kCPU][i]) < 1e-3);
  REQUIRE(found[at::kCUDA].size() == found[at::kCPU].size());
  for (std::size_t image = 0; image < found[at::kCPU].size(); ++image) {
    REQUIRE(found[at::kCUDA][image].size() == found[at::kCPU][image].size());
    for (std::size_t i = 0; i < found[at::kCPU][image].size(); ++i) {
      const Detection &gpu = found[at::kCUDA][image][i], &host = found[at::kCPU][image][i];
      CHECK(gpu.caption == host.caption);
      CHECK(std::abs(gpu.score - host.score) < 1e-4F);
      for (std::size_t edge = 0; edge < 4; ++edge)
        CHECK(std::abs(gpu.box[edge] - host.box[edge]) < 0.05F);
    }
  }
}

TEST_CASE("generation on a GPU writes what the CPU writes", "[gpu]") {
  cuda_or_skip();
  const MicroBatch prompt = small_batch({{{8, 8}}}, 5);
  const auto generate = [&](at::Device device) {
    at::Tensor logits;
    const auto ids = QwenVL::random(small_config(), on(device), 3)
                         .generate(prompt, {.max_new_tokens = 12}, &logits);
    return std::pair(ids, logits);
  };
  const auto [host_ids, host_logits] = generate(kHost);
  const auto [gpu_ids, gpu_logits] = generate(kGpu);
  CHECK(gpu_ids == host_ids);
  CHECK(distance(gpu_logits, host_logits) < 1e-4);
}
