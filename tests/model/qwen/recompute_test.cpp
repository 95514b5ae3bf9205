#include "model/qwen/recompute.h"

#include <catch2/catch_test_macros.hpp>

#include "model/memory_meter.h"

using namespace muster::model;

namespace {

// Drops half of what passes: the second run must drop the same half.
at::Tensor noisy_block(const at::Tensor& x, const std::vector<at::Tensor>& params) {
  return at::dropout(at::tanh(at::linear(x, params[0])), 0.5, true);
}

struct Run {
  at::Tensor out, d_x, d_weight, next;  // next: drawn after backward
};

Run run(bool recomputed) {
  at::manual_seed(11);
  const at::Tensor x = at::randn({6, 8}).requires_grad_(),
                   weight = at::randn({8, 8}).requires_grad_();
  at::Tensor y = x;
  for (int i = 0; i < 3; ++i)
    y = recomputed ? recompute(noisy_block, y, {weight}) : noisy_block(y, {weight});
  y.square().sum().backward();
  return {y.detach(), x.grad(), weight.grad(), at::randn({3})};
}

}  // namespace

TEST_CASE("a recomputed block draws the same random numbers, and the generator goes on as without",
          "[unit]") {
  const Run plain = run(false), again = run(true);
  CHECK(at::equal(plain.out, again.out));
  CHECK(at::equal(plain.d_x, again.d_x));
  CHECK(at::allclose(plain.d_weight, again.d_weight));
  CHECK(at::equal(plain.next, again.next));
}

TEST_CASE("a recomputed block keeps its input alone", "[unit]") {
  constexpr std::int64_t kInput = 64 * 32 * 4;
  const at::Tensor x = at::randn({64, 32}).requires_grad_(),
                   weight = at::randn({32, 32}).requires_grad_();
  const auto deep = [](const at::Tensor& input, const std::vector<at::Tensor>& params) {
    at::Tensor y = input;
    for (int i = 0; i < 8; ++i) y = at::tanh(at::linear(y, params[0]));
    return y;
  };
  const auto held_by = [&](bool recomputed) {
    const muster::test::MemoryMeter meter;
    const at::Tensor out = recomputed ? recompute(deep, x, {weight}) : deep(x, {weight});
    return meter.held();
  };
  CHECK(held_by(true) < 3 * kInput);  // the output and a generator's state
  CHECK(held_by(false) >= 8 * kInput);
}
