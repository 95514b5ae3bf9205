#include "data/sampler.h"

#include <catch2/catch_test_macros.hpp>
#include <catch2/matchers/catch_matchers_exception.hpp>
#include <catch2/matchers/catch_matchers_string.hpp>
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

const SamplerOptions kOptions{4, 300, 150, 6, 42};

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
