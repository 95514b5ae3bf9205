#include "model/qwen/cross_entropy.h"

#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>
#include <cmath>
#include <ctime>
#include <limits>

#include "model/memory_meter.h"
#include "model/qwen/softmax_rows.h"

using namespace muster::model;

TEST_CASE("chunked cross-entropy equals the plain one, with gradients", "[unit]") {
  at::manual_seed(3);
  const std::int64_t chunk = GENERATE(1, 3, 7, 100);
  const bool train_weight = GENERATE(true, false);
  const at::Tensor hidden = at::randn({10, 6}, at::kDouble).requires_grad_();
  const at::Tensor weight =
      at::randn({23, 6}, at::kDouble).mul_(40).requires_grad_(train_weight);  // large logits
  const at::Tensor labels = at::randint(0, 23, {10}, at::kLong);
  const at::Tensor plain =
      at::cross_entropy_loss(at::linear(hidden, weight), labels, {}, at::Reduction::Sum);
  (plain * 0.3).backward();
  const at::Tensor d_hidden = hidden.grad().clone(),
                   d_weight = train_weight ? weight.grad().clone() : at::Tensor();
  at::Tensor(hidden).mutable_grad().reset();
  at::Tensor(weight).mutable_grad().reset();
  const at::Tensor chunked = cross_entropy_sum(hidden, weight, labels, chunk);
  (chunked * 0.3).backward();
  CHECK(at::allclose(chunked, plain, 1e-12));
  CHECK(at::allclose(hidden.grad(), d_hidden, 1e-10, 1e-12));
  CHECK(weight.grad().defined() == train_weight);
  if (train_weight) CHECK(at::allclose(weight.grad(), d_weight, 1e-10, 1e-12));
}

TEST_CASE("chunked cross-entropy in bf16 sums the weight's gradient in fp32", "[unit]") {
  at::manual_seed(4);
  const at::Tensor hidden = at::randn({512, 8}).to(at::kBFloat16).requires_grad_();
  const at::Tensor weight = at::randn({16, 8}).to(at::kBFloat16).requires_grad_();
  const at::Tensor labels = at::randint(0, 16, {512}, at::kLong);
  cross_entropy_sum(hidden, weight, labels, 4).backward();
  const at::Tensor exact_hidden = hidden.detach().to(at::kDouble),
                   exact_weight = weight.detach().to(at::kDouble).requires_grad_();
  cross_entropy_sum(exact_hidden, exact_weight, labels, 512).backward();
  const double scale = exact_weight.grad().abs().max().item<double>();
  CHECK((weight.grad() - exact_weight.grad()).abs().max().item<double>() < 0.01 * scale);
}

TEST_CASE("the loss without a graph keeps no gradients", "[unit]") {
  const at::Tensor hidden = at::randn({5, 4}), weight = at::randn({9, 4}),
                   labels = at::randint(0, 9, {5}, at::kLong);
  const at::Tensor loss = cross_entropy_sum(hidden, weight, labels, 2);
  CHECK_FALSE(loss.requires_grad());
  CHECK(at::allclose(
      loss, at::cross_entropy_loss(at::linear(hidden, weight), labels, {}, at::Reduction::Sum)));
}

TEST_CASE("softmax rows equal the definition in fp32 and bf16, and a NaN stays one", "[unit]") {
  at::manual_seed(5);
  const std::int64_t vocab = GENERATE(1, 15, 16, 2049, 5000);
  const bool narrow = GENERATE(false, true);
  const at::Tensor logits = (at::randn({4, vocab}) * 30).to(narrow ? at::kBFloat16 : at::kFloat);
  const at::Tensor labels = at::randint(0, vocab, {4}, at::kLong), exact = logits.to(at::kDouble);
  const double expected =
      at::cross_entropy_loss(exact, labels, {}, at::Reduction::Sum).item<double>();
  at::Tensor gradient = exact.softmax(1);
  gradient.scatter_add_(1, labels.unsqueeze(1), at::full({4, 1}, -1.0, at::kDouble));
  at::Tensor got = logits.clone(), forward_only = logits.clone();
  CHECK(std::abs(softmax_rows_(got, labels, true) - expected) < 1e-5 * (1 + expected));
  CHECK((got.to(at::kDouble) - gradient).abs().max().item<double>() < (narrow ? 4e-3 : 1e-6));
  CHECK(std::abs(softmax_rows_(forward_only, labels, false) - expected) < 1e-5 * (1 + expected));
  at::Tensor bad = logits.clone();
  bad[2][vocab - 1] = std::numeric_limits<float>::quiet_NaN();
  CHECK(std::isnan(softmax_rows_(bad, labels, true)));
  CHECK(bad[2].isnan().all().item<bool>());
  CHECK(bad[1].isfinite().all().item<bool>());
}

TEST_CASE("[rows, vocab] logits are never held", "[unit]") {
  constexpr std::int64_t kRows = 64, kDim = 8, kWords = 6000, kChunk = 4, kFloat = 4;
  constexpr std::int64_t kLogits = kRows * kWords * kFloat, kGradient = kWords * kDim * kFloat;
  const at::Tensor hidden = at::randn({kRows, kDim}).requires_grad_();
  const at::Tensor weight = at::randn({kWords, kDim}).requires_grad_();
  const at::Tensor labels = at::randint(0, kWords, {kRows}, at::kLong);
  const muster::test::MemoryMeter meter;
  const at::Tensor loss = cross_entropy_sum(hidden, weight, labels, kChunk);
  loss.backward();
  CHECK(meter.peak() >= kChunk * kWords * kFloat + kGradient);  // the meter sees what must be there
  CHECK(meter.peak() < 2 * kChunk * kWords * kFloat + 2 * kGradient);
  CHECK(meter.held() < 2 * kGradient);
  const at::Tensor plain =
      at::cross_entropy_loss(at::linear(hidden, weight), labels, {}, at::Reduction::Sum);
  CHECK(meter.peak() > kLogits);  // negative control
}

TEST_CASE("rows that fill no whole number of chunks make chunks of equal length", "[unit]") {
  constexpr std::int64_t kRows = 33, kDim = 8, kWords = 6000, kChunk = 32, kFloat = 4;
  const at::Tensor hidden = at::randn({kRows, kDim}).requires_grad_();
  const at::Tensor weight = at::randn({kWords, kDim}).requires_grad_();
  const at::Tensor labels = at::randint(0, kWords, {kRows}, at::kLong);
  const muster::test::MemoryMeter meter;
  cross_entropy_sum(hidden, weight, labels, kChunk).backward();
  CHECK(meter.peak() < (kRows / 2 + 2) * kWords * kFloat + 2 * kWords * kDim * kFloat);
}

TEST_CASE("logits are gone when a wide gradient becomes narrow", "[unit]") {
  constexpr std::int64_t kRows = 64, kDim = 16, kWords = 40000, kChunk = 32;
  constexpr std::int64_t kWide = kWords * kDim * 4, kLogits = kChunk * kWords * 2;
  const at::Tensor hidden = at::randn({kRows, kDim}).to(at::kBFloat16).requires_grad_();
  const at::Tensor weight = at::randn({kWords, kDim}).to(at::kBFloat16).requires_grad_();
  const at::Tensor labels = at::randint(0, kWords, {kRows}, at::kLong);
  const muster::test::MemoryMeter meter;
  cross_entropy_sum(hidden, weight, labels, kChunk).backward();
  CHECK(meter.peak() < kWide + kLogits + 2 * kWide / 5);
}

TEST_CASE("cross-entropy: speed per row of 151,936 logits", "[.speed]") {
  constexpr std::int64_t kRows = 128, kWords = 151936;
  const at::Tensor labels = at::randint(0, kWords, {kRows}, at::kLong);
  for (const at::ScalarType dtype : {at::kFloat, at::kBFloat16}) {
    at::Tensor logits = at::randn({kRows, kWords}).to(dtype);
    double best = 1e9;
    for (int i = 0; i < 5; ++i) {
      const std::clock_t start = std::clock();
      softmax_rows_(logits, labels, true);
      best = std::min(best, static_cast<double>(std::clock() - start) / CLOCKS_PER_SEC);
    }
    WARN("softmax_rows_ " << dtype << ": " << best / kRows * 1e3 << " ms of CPU per row");
  }
}
