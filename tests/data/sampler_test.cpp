#include "data/sampler.h"

#include <catch2/catch_test_macros.hpp>
#include <catch2/matchers/catch_matchers_exception.hpp>
#include <catch2/matchers/catch_matchers_string.hpp>
#include <chrono>
#include <cmath>
#include <map>

#include "base/error.h"
#include "base/rng.h"

namespace muster::data {
namespace {

using Catch::Matchers::ContainsSubstring;
using Catch::Matchers::MessageMatches;

std::vector<SampleSize> random_sizes(std::int64_t n, std::uint64_t seed = 1) {
  Rng rng(seed);
  std::vector<SampleSize> sizes;
  for (std::int64_t i = 0; i < n; ++i) {
    const std::int64_t vision = rng.below(60);
    sizes.push_back({rng.below(10) == 0,
                     false,
                     vision + 20 + rng.below(30),
                     vision,
                     {rng.below(20), rng.below(5), rng.below(9)}});
  }
  return sizes;
}

const SamplerOptions kOptions{.micro_batches_per_step = 4,
                              .max_tokens = 300,
                              .max_vision_tokens = 150,
                              .max_samples = 6,
                              .seed = 42};

// Pictures and answers as they come: most small, some large.
std::vector<SampleSize> log_normal_sizes(std::int64_t n) {
  Rng rng(3);
  std::vector<SampleSize> sizes;
  for (std::int64_t i = 0; i < n; ++i) {
    const auto vision = static_cast<std::int64_t>(315 * std::exp(0.6 * rng.normal())) + 4;
    const auto text = static_cast<std::int64_t>(135 * std::exp(0.9 * rng.normal())) + 20;
    SampleSize size;
    size.vision_tokens = std::min<std::int64_t>(vision, 2000);
    size.tokens = size.vision_tokens + std::min<std::int64_t>(text, 4000);
    size.denominators.tokens = (size.tokens - size.vision_tokens) / 2;
    sizes.push_back(size);
  }
  return sizes;
}

// Qwen2.5-VL-3B's, to two digits.
constexpr TokenCost kCost{.token = 5500000000,
                          .token_pair = 147456,
                          .vision_token = 4900000000,
                          .vision_pair = 327680,
                          .label = 622000000,
                          .caption = 622000000};

}  // namespace

TEST_CASE("every sample is seen exactly once per epoch, within the budgets", "[unit]") {
  const auto sizes = random_sizes(500);
  const Sampler sampler(sizes, kOptions);
  for (std::int64_t epoch = 0; epoch < 3; ++epoch) {
    const auto list = sampler.epoch(epoch);
    CHECK(list.size() % 4 == 0);
    CHECK(sampler.steps(epoch) * 4 == static_cast<std::int64_t>(list.size()));
    std::map<std::int64_t, int> seen;
    for (const MicroBatchPlan& plan : list) {
      std::int64_t tokens = 0, vision = 0;
      Denominators denominators;
      for (const std::int64_t i : plan.samples) {
        ++seen[i];
        tokens += sizes[i].tokens;
        vision += sizes[i].vision_tokens;
        denominators += sizes[i].denominators;
      }
      REQUIRE((tokens <= 300 && vision <= 150 && plan.samples.size() <= 6));
      REQUIRE((tokens == plan.tokens && vision == plan.vision_tokens &&
               denominators == plan.denominators));
    }
    std::int64_t dropped = 0;
    for (std::size_t i = 0; i < sizes.size(); ++i) {
      dropped += sizes[i].dropped ? 1 : 0;
      REQUIRE(seen[static_cast<std::int64_t>(i)] == (sizes[i].dropped ? 0 : 1));
    }
    CHECK((dropped == sampler.dropped() && dropped > 0));
  }
}

TEST_CASE("the order depends on seed and epoch only", "[unit]") {
  const auto first = [](const Sampler& sampler, std::int64_t epoch) {
    return sampler.epoch(epoch).front().samples;
  };
  const Sampler a(random_sizes(200), kOptions), b(random_sizes(200), kOptions);
  SamplerOptions reseeded = kOptions;
  reseeded.seed = 43;
  CHECK(first(a, 5) == first(b, 5));
  CHECK(first(a, 5) != first(a, 6));
  CHECK(first(a, 5) != first(Sampler(random_sizes(200), reseeded), 5));
}

TEST_CASE("padding is empty, at the end, and less than a step", "[unit]") {
  for (std::int64_t n = 1; n < 40; ++n) {
    const auto list = Sampler(random_sizes(n, 9), kOptions).epoch(0);
    std::size_t real = 0;
    while (real < list.size() && !list[real].samples.empty()) ++real;
    for (std::size_t i = real; i < list.size(); ++i) REQUIRE(list[i].samples.empty());
    REQUIRE((real > 0 && list.size() - real < 4));
  }
}

TEST_CASE("micro-batches are full and a step's cost the same", "[unit]") {
  SamplerOptions options{.micro_batches_per_step = 32,
                         .max_tokens = 8192,
                         .max_vision_tokens = 8192,
                         .max_samples = 64,
                         .seed = 1,
                         .cost = kCost};
  const auto sizes = log_normal_sizes(40000);
  const Sampler sampler(sizes, options);
  const auto list = sampler.epoch(0);
  const FillReport report = sampler.report(list);
  CAPTURE(report.fill, report.balance);
  CHECK(report.fill >= 0.95);
  CHECK(report.balance >= 0.95);
  double tokens = 0;
  for (const MicroBatchPlan& plan : list) tokens += static_cast<double>(plan.tokens);
  CHECK(tokens / 8192 / static_cast<double>(list.size()) >= 0.95);
  // The reporter by hand: the mean of two halves over the larger one.
  std::vector<MicroBatchPlan> two(2);
  two[0].cost = 4;
  two[0].tokens = 4096;
  two[1].cost = 2;
  two[1].vision_tokens = 2048;
  const FillReport hand = report_fill(two, options.limits(), 2);
  CHECK((hand.steps == 1 && hand.balance == 0.75 && hand.fill == 0.375));
  // Control: dealt in the order of the shuffle, as packs were filled before, they are not.
  std::vector<MicroBatchPlan> in_order(1);
  for (std::size_t i = 0; i < sizes.size(); ++i) {
    if (!options.limits().hold(in_order.back(), sizes[i])) in_order.emplace_back();
    in_order.back().samples.push_back(static_cast<std::int64_t>(i));
    in_order.back().tokens += sizes[i].tokens;
    in_order.back().vision_tokens += sizes[i].vision_tokens;
    in_order.back().cost += kCost.of(sizes[i]);
  }
  in_order.resize(in_order.size() / 32 * 32);
  const FillReport before = report_fill(in_order, options.limits(), 32);
  CAPTURE(before.fill, before.balance);
  CHECK(before.balance < 0.95);
}

TEST_CASE("limits hold when few samples fit a micro-batch, and when they are all the same",
          "[unit]") {
  for (const std::int64_t tokens : {300, 299, 160, 150, 149, 101, 10, 1}) {
    std::vector<SampleSize> sizes(333, SampleSize{false, false, tokens, 0, {tokens, 0, 0}});
    const auto list = Sampler(sizes, kOptions).epoch(2);
    std::int64_t seen = 0;
    for (const MicroBatchPlan& plan : list) {
      REQUIRE((plan.tokens <= 300 && plan.samples.size() <= 6));
      seen += static_cast<std::int64_t>(plan.samples.size());
    }
    CHECK(seen == 333);
    const std::int64_t together = std::min<std::int64_t>(6, 300 / tokens);
    const std::int64_t needed = (333 + together - 1) / together;
    CHECK(static_cast<std::int64_t>(list.size()) <= needed + needed / 20 + 8);
  }
}

TEST_CASE("a million samples are planned in a second", "[.bench]") {
  SamplerOptions options{.micro_batches_per_step = 32,
                         .max_tokens = 8192,
                         .max_vision_tokens = 8192,
                         .max_samples = 64,
                         .seed = 1,
                         .cost = kCost};
  const Sampler sampler(log_normal_sizes(1000000), options);
  const auto begin = std::chrono::steady_clock::now();
  const auto list = sampler.epoch(0);
  const double seconds =
      std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  WARN(seconds << " s for " << list.size() << " micro-batches");
}

TEST_CASE("packs are seen as often as their weights say", "[unit]") {
  SamplerOptions options = kOptions;
  options.packs = {{100, 1}, {40, 2.5}, {60, 0.25}};
  std::vector<SampleSize> sizes(200, SampleSize{false, false, 20, 10, {1, 1, 1}});
  const Sampler sampler(sizes, options);
  std::map<std::int64_t, int> all;
  for (std::int64_t epoch = 0; epoch < 4; ++epoch) {
    std::map<std::int64_t, int> seen;
    for (const MicroBatchPlan& plan : sampler.epoch(epoch))
      for (const std::int64_t i : plan.samples) ++seen[i];
    std::int64_t second = 0;
    std::int64_t third = 0;
    for (std::int64_t i = 0; i < 200; ++i) {
      all[i] += seen[i];
      if (i < 100) {
        REQUIRE(seen[i] == 1);
      } else if (i < 140) {
        REQUIRE((seen[i] == 2 || seen[i] == 3));
        second += seen[i];
      } else {
        REQUIRE(seen[i] <= 1);
        third += seen[i];
      }
    }
    CHECK((second == 100 && third == 15));
  }
  for (std::int64_t i = 100; i < 140; ++i) CHECK(all[i] == 10);  // halves of two epochs are a whole
  for (std::int64_t i = 140; i < 200; ++i) CHECK(all[i] == 1);   // as are four quarters
}

TEST_CASE("repeat factors are those of the LVIS paper", "[unit]") {
  // Of 10 samples all have category 1, two have 2, one of these has 3 as well.
  const auto categories = [](std::int64_t i) {
    if (i == 0) return std::vector<std::int64_t>{1, 2, 3, 3};
    if (i == 1) return std::vector<std::int64_t>{2, 1};
    return std::vector<std::int64_t>{1, 1, 1};
  };
  const std::vector<double> factors = repeat_factors(10, categories, 0.4);
  CHECK(factors[0] == 2.0);             // sqrt(0.4 / 0.1)
  CHECK(factors[1] == std::sqrt(2.0));  // sqrt(0.4 / 0.2)
  for (std::size_t i = 2; i < 10; ++i) CHECK(factors[i] == 1.0);
  CHECK(repeat_factors(
            3, [](std::int64_t) { return std::vector<std::int64_t>{}; }, 0.5) ==
        std::vector<double>{1, 1, 1});

  const EpochOrder order({{10, 1}}, factors, 5);
  std::map<std::int64_t, int> seen;
  for (std::int64_t epoch = 0; epoch < 2000; ++epoch)
    for (const std::int64_t i : order.of(epoch)) ++seen[i];
  CHECK(seen[0] == 4000);
  CHECK(std::abs(seen[1] / 2000.0 - std::sqrt(2.0)) < 0.04);  // 3.6 standard deviations
  CHECK(seen[5] == 2000);
  CHECK(order.of(7) == EpochOrder({{10, 1}}, factors, 5).of(7));
}

TEST_CASE("a sample that fits nowhere, and a set without samples, are refused", "[fault]") {
  auto sizes = random_sizes(10);
  sizes[7] = {false, false, 301, 10, {}};
  CHECK_THROWS_MATCHES(Sampler(sizes, kOptions), DataError,
                       MessageMatches(ContainsSubstring("sample 7") && ContainsSubstring("301")));
  sizes[7] = {false, false, 200, 151, {}};
  CHECK_THROWS_MATCHES(Sampler(sizes, kOptions), DataError,
                       MessageMatches(ContainsSubstring("sample 7") && ContainsSubstring("151")));
  sizes[7].dropped = true;
  CHECK_NOTHROW(Sampler(sizes, kOptions));
  for (SampleSize& size : sizes) size.dropped = true;
  CHECK_THROWS_AS(Sampler(sizes, kOptions), DataError);
  CHECK_THROWS_AS(Sampler({}, kOptions), DataError);
  CHECK_THROWS_AS(Sampler(random_sizes(3), SamplerOptions{}), ConfigError);
}

}  // namespace muster::data
