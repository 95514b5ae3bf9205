#include <array>
#include <catch2/catch_test_macros.hpp>
#include <catch2/matchers/catch_matchers_floating_point.hpp>
#include <numeric>

#include "sharding/engine_core.h"
#include "sharding/kernels/exact_sum.h"
#include "sharding/kernels/kernels.h"
#include "sharding/toy.h"

using namespace muster;
using namespace muster::sharding;
using muster::test::random_tensor;
using muster::test::raw_bytes;

namespace {

double exact_norm_squared(const std::vector<double>& values, std::size_t parts) {
  ExactSum::Limbs total{};
  for (std::size_t part = 0; part < parts; ++part) {
    ExactSum::Limbs limbs{};
    for (std::size_t i = part; i < values.size(); i += parts) ExactSum::add(values[i], limbs);
    ExactSum::normalize(limbs);
    for (std::size_t i = 0; i < limbs.size(); ++i) total[i] += limbs[i];
  }
  return ExactSum::value(total);
}

// Distance in representable floats.
std::int64_t ulps(float a, float b) {
  const auto key = [](float x) {
    const auto bits = std::bit_cast<std::int32_t>(x);
    return static_cast<std::int64_t>(bits < 0 ? std::numeric_limits<std::int32_t>::min() - bits
                                              : bits);
  };
  return std::abs(key(a) - key(b));
}

struct Adam {
  at::Tensor p, m, v;
};

AdamWRun run_of(const Adam& a, const at::Tensor& gradient, const at::Tensor& parameter,
                std::int64_t step) {
  return {.gradient = gradient,
          .parameter = parameter,
          .master = a.p,
          .remainder = {},
          .exp_avg = a.m,
          .exp_avg_sq = a.v,
          .lr = 1e-2,
          .weight_decay = 0.1,
          .beta1 = 0.9,
          .beta2 = 0.95,
          .eps = 1e-8,
          .step = step};
}

}  // namespace

TEST_CASE("an exact sum has the same bits in any order and partition; a plain one has not",
          "[unit]") {
  Rng rng(5);
  std::vector<double> values;
  for (int i = 0; i < 5000; ++i) values.push_back(std::exp(rng.uniform(-100, 100)));
  values.push_back(0.0);
  values.push_back(0x1p-298);
  const double first = exact_norm_squared(values, 1);
  const double plain = std::accumulate(values.begin(), values.end(), 0.0);
  bool plain_differs = false;
  for (std::size_t parts = 2; parts < 9; ++parts) {
    rng.shuffle(values);
    REQUIRE(exact_norm_squared(values, parts) == first);
    plain_differs |= std::accumulate(values.begin(), values.end(), 0.0) != plain;
  }
  REQUIRE(plain_differs);
  REQUIRE_THAT(first, Catch::Matchers::WithinRel(plain, 1e-12));
  REQUIRE(exact_norm_squared({0x1p-298, 0x1p-298}, 1) == 0x1p-297);
  REQUIRE(exact_norm_squared({0x1p260, 0x1p260, 1.0}, 2) == 0x1p261);
}

TEST_CASE("squares are summed in fp64 blocks, and a bad value is flagged instead", "[unit]") {
  const auto kernels = make_cpu_kernels();
  at::Tensor values = random_tensor({1003}, 1, 1e3),
             limbs = at::zeros({ExactSum::kLimbs}, at::kLong), bad = at::zeros({1}, at::kByte);
  kernels->add_squares(values, limbs, bad);
  const std::span<const std::int64_t, ExactSum::kLimbs> view(limbs.data_ptr<std::int64_t>(),
                                                             ExactSum::kLimbs);
  REQUIRE_THAT(
      ExactSum::value(view),
      Catch::Matchers::WithinRel(values.to(at::kDouble).square().sum().item<double>(), 1e-14));
  REQUIRE(bad.item<int>() == 0);
  values[777] = std::numeric_limits<float>::quiet_NaN();
  kernels->add_squares(values, limbs, bad);
  REQUIRE(bad.item<int>() == 1);
}

TEST_CASE("the wire cast rounds as ATen does, and reports what overflows", "[unit]") {
  const auto kernels = make_cpu_kernels();
  const at::Tensor gradient = random_tensor({1001}, 2, 3e4),
                   wire = at::empty({1001}, at::kBFloat16), bad = at::zeros({1}, at::kByte);
  kernels->to_wire(gradient, wire, false, bad);
  REQUIRE(at::equal(wire, gradient.to(at::kBFloat16)));
  REQUIRE(bad.item<int>() == 0);
  gradient[1000] = 3.4e38F;  // finite in fp32, infinite in bf16
  kernels->to_wire(gradient, wire, false, bad);
  REQUIRE(bad.item<int>() == 1);
}

TEST_CASE("ranks are added in order onto the accumulator; sum-then-add gives other bits",
          "[unit]") {
  const auto kernels = make_cpu_kernels();
  const at::Tensor parts = random_tensor({3, 10007}, 3, 1), start = random_tensor({10007}, 4, 1);
  at::Tensor one_call = start.clone(), three_calls = start.clone(), sum_first = start.clone();
  const auto row = [&](int r) { return bytes_of(parts[r]).data(); };
  kernels->accumulate(std::array<const std::byte*, 3>{row(0), row(1), row(2)}, at::kFloat, one_call,
                      false);
  for (int r = 0; r < 3; ++r)
    kernels->accumulate(std::array<const std::byte*, 1>{row(r)}, at::kFloat, three_calls, false);
  sum_first += parts[0] + parts[1] + parts[2];
  REQUIRE(at::equal(one_call, three_calls));
  REQUIRE_FALSE(
      at::equal(one_call, sum_first));  // negative control: the order is what makes the bits
}

TEST_CASE("a fresh accumulator has the bits of one that was zeros, negative zeros included",
          "[unit]") {
  const auto kernels = make_cpu_kernels();
  for (const at::ScalarType type : {at::kFloat, at::kBFloat16}) {
    at::Tensor parts = random_tensor({4, 5003}, 8, 1).to(type);
    parts.narrow(1, 100, 50).fill_(-0.0);
    std::vector<const std::byte*> rows;
    for (int r = 0; r < 4; ++r) {
      rows.push_back(bytes_of(parts[r]).data());
      at::Tensor fresh = at::full({5003}, NAN), zeros = at::zeros({5003});
      kernels->accumulate(rows, type, fresh, true);
      kernels->accumulate(rows, type, zeros, false);
      REQUIRE((raw_bytes(fresh) == raw_bytes(zeros)));
    }
  }
}

TEST_CASE("squares added many at once have the bits of one block after the other", "[unit]") {
  const auto kernels = make_cpu_kernels();
  const auto one_by_one = [](const at::Tensor& values) {
    ExactSum::Limbs limbs{};
    for (std::int64_t at = 0; at < values.numel(); at += 16) {
      double lanes[4] = {0, 0, 0, 0};
      for (std::int64_t i = at; i < std::min(at + 16, values.numel()); ++i) {
        const double x = values.const_data_ptr<float>()[i];
        lanes[i % 4] += x * x;
      }
      ExactSum::add((lanes[0] + lanes[1]) + (lanes[2] + lanes[3]), limbs);
    }
    ExactSum::normalize(limbs);
    return limbs;
  };
  // Powers of two from -spread to spread: narrow ones are added together, wide ones alone.
  for (const int spread : {0, 3, 9, 10, 11, 12, 13, 14, 22, 40, 62}) {
    at::Tensor values =
        random_tensor({64 * 16 * 5 + 77}, 30 + static_cast<std::uint64_t>(spread), 1);
    Rng rng(spread);
    for (std::int64_t at = 0; at < values.numel(); at += 16) {
      const auto block = values.narrow(0, at, std::min<std::int64_t>(16, values.numel() - at));
      block.mul_(rng.below(9) == 0
                     ? 0.0
                     : std::exp2(static_cast<double>(rng.below(2 * spread + 1) - spread)));
    }
    const at::Tensor limbs = at::zeros({ExactSum::kLimbs}, at::kLong),
                     bad = at::zeros({1}, at::kByte);
    kernels->add_squares(values, limbs, bad);
    const ExactSum::Limbs expected = one_by_one(values);
    INFO("spread " << spread);
    REQUIRE(std::equal(expected.begin(), expected.end(), limbs.const_data_ptr<std::int64_t>()));
    for (const float special : {NAN, -NAN, INFINITY}) {
      values[500] = special;
      kernels->add_squares(values, limbs, bad.zero_());
      REQUIRE(bad.item<int>() == 1);
    }
  }
  REQUIRE(ExactSum::value(one_by_one(at::zeros({64}))) == 0);
}

TEST_CASE("fused AdamW follows torch's to two units in the last place over ten steps", "[unit]") {
  const auto kernels = make_cpu_kernels();
  const std::int64_t n = 4099;
  Adam ours{random_tensor({n}, 5, 1), at::zeros({n}), at::zeros({n})};
  Adam theirs{ours.p.clone(), at::zeros({n}), at::zeros({n})};
  for (std::int64_t step = 1; step <= 10; ++step) {
    const at::Tensor gradient = random_tensor({n}, 100 + static_cast<std::uint64_t>(step), 0.1);
    kernels->adamw(run_of(ours, gradient, ours.p, step));
    at::_fused_adamw_({theirs.p}, {gradient}, {theirs.m}, {theirs.v}, {},
                      {at::tensor(static_cast<float>(step))}, 1e-2, 0.9, 0.95, 0.1, 1e-8, false,
                      false);
    // Parameters are compared relative to the step they take: near zero a difference of nothing is
    // many ulps.
    REQUIRE((ours.p - theirs.p).abs().max().item<float>() < 4e-7F);
  }
  std::int64_t worst = 0;
  for (std::int64_t i = 0; i < n; ++i)
    worst = std::max(worst, ulps(ours.v[i].item<float>(), theirs.v[i].item<float>()));
  REQUIRE(worst <= 10);  // at most one per step
}

TEST_CASE("an element's update does not depend on its place, and bf16 out is the rounded master",
          "[unit]") {
  const auto kernels = make_cpu_kernels();
  const std::int64_t n = 203;
  const at::Tensor gradient = random_tensor({n}, 6, 1), start = random_tensor({n}, 7, 1);
  Adam whole{start.clone(), at::zeros({n}), at::zeros({n})},
      single{start.clone(), at::zeros({n}), at::zeros({n})};
  const at::Tensor low = at::empty({n}, at::kBFloat16);
  kernels->adamw(run_of(whole, gradient, low, 1));
  for (std::int64_t i = 0; i < n; ++i) {
    const Adam one{single.p.narrow(0, i, 1), single.m.narrow(0, i, 1), single.v.narrow(0, i, 1)};
    kernels->adamw(run_of(one, gradient.narrow(0, i, 1), one.p, 1));
  }
  REQUIRE(at::equal(whole.p, single.p));
  REQUIRE(at::equal(whole.v, single.v));
  REQUIRE(at::equal(low, whole.p.to(at::kBFloat16)));
}
