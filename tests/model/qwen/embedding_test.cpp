#include "model/qwen/embedding.h"

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <catch2/catch_test_macros.hpp>
#include <vector>

#include "model/memory_meter.h"
#include "model/qwen/cross_entropy.h"

using muster::model::lookup, muster::model::TiedGradient;

namespace {

constexpr std::int64_t kVocab = 5000, kDim = 32, kTableBytes = kVocab * kDim * 4;

at::Tensor table() { return at::randn({kVocab, kDim}).requires_grad_(); }

std::int64_t pages_in_memory(const at::Tensor& x) {
  const auto page = static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
  std::vector<unsigned char> in_memory((x.nbytes() + page - 1) / page);
  REQUIRE(::mincore(x.data_ptr(), x.nbytes(), in_memory.data()) == 0);
  return std::count_if(in_memory.begin(), in_memory.end(),
                       [](unsigned char c) { return (c & 1) != 0; });
}

}  // namespace

TEST_CASE("a looked-up row's gradient is the sum over its places", "[unit]") {
  at::manual_seed(1);
  const at::Tensor ours = table(), theirs = ours.detach().clone().requires_grad_();
  const at::Tensor ids = at::tensor({7, 3, 7, 4999}, at::kLong).view({2, 2}),
                   weight = at::randn({2, 2, kDim});
  for (int step = 0; step < 2; ++step) {  // gradients accumulate over micro-batches
    (lookup(ours, ids) * weight).sum().backward();
    (at::embedding(theirs, ids) * weight).sum().backward();
  }
  CHECK(at::allclose(ours.grad(), theirs.grad()));
  CHECK(at::allclose(lookup(ours, ids), at::embedding(theirs, ids)));
}

TEST_CASE("the gradient is in memory only where rows were looked up", "[unit]") {
  const at::Tensor large = at::zeros({1 << 16, 64}).requires_grad_();  // 16 MiB
  lookup(large, at::tensor({5, 60000, 5, 30000}, at::kLong)).sum().backward();
  CHECK(pages_in_memory(large.grad()) <= 3 * 2);
  CHECK(large.grad().sum().item<float>() == 4 * 64);
}

TEST_CASE("a tied table's gradient is one dense tensor, of both uses", "[unit]") {
  const at::Tensor ids = at::tensor({7, 3, 7}, at::kLong),
                   labels = at::tensor({1, 2, 7}, at::kLong);
  const auto gradient = [&](auto look_up, std::int64_t& peak, auto waiting) {
    at::manual_seed(2);
    const at::Tensor tied = table();
    const muster::test::MemoryMeter meter;
    muster::model::cross_entropy_sum(look_up(tied), tied, labels, 1, waiting)
        .backward();  // lookups and logits share the table
    peak = meter.peak();
    return tied.grad();
  };
  std::int64_t lean = 0, dense = 0, joined = 0;
  const auto waiting = std::make_shared<TiedGradient>();
  const at::Tensor ours =
      gradient([&](const at::Tensor& t) { return lookup(t, ids); }, lean, nullptr);
  CHECK(at::allclose(
      ours, gradient([&](const at::Tensor& t) { return at::embedding(t, ids); }, dense, nullptr)));
  CHECK(at::equal(ours, gradient([&](const at::Tensor& t) { return lookup(t, ids, waiting); },
                                 joined, waiting)));
  CHECK_FALSE(waiting->waiting.defined());
  CHECK(dense > 2 * kTableBytes);
  CHECK(lean < 2 * kTableBytes);
  CHECK(joined < 2 * kTableBytes);
}

TEST_CASE("lookups of a tied table without a loss of its logits have their own gradient",
          "[unit]") {
  const at::Tensor tied = table(), ids = at::tensor({7, 3, 7}, at::kLong);
  lookup(tied, ids, std::make_shared<TiedGradient>()).sum().backward();
  CHECK(tied.grad().sum().item<float>() == 3 * kDim);
}

TEST_CASE("a table that is no leaf, or frozen, works too", "[unit]") {
  const at::Tensor leaf = table(), ids = at::tensor({1, 1, 2}, at::kLong);
  lookup(leaf * 2, ids).sum().backward();
  CHECK(leaf.grad().sum().item<float>() == 2 * 3 * kDim);
  CHECK_FALSE(lookup(leaf.detach(), ids).requires_grad());
}
