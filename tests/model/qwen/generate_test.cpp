#include <catch2/catch_test_macros.hpp>
#include <cmath>
#include <limits>

#include "base/error.h"
#include "model/qwen/small_model.h"

using namespace muster;
using namespace muster::model;
using namespace muster::test;

TEST_CASE("temperature 0 takes the most probable token, the first of equals", "[unit]") {
  CHECK(choose_token(at::tensor({0.1, 3.0, 3.0, -1.0}), {}, 0) == 1);
  CHECK(choose_token(at::tensor({0.1, 3.0, 3.1, -1.0}), {.seed = 9}, 7) == 2);
}

TEST_CASE("draws follow the distribution at a temperature, cut to its nucleus", "[unit]") {
  const std::vector<double> p{0.5, 0.25, 0.125, 0.125};
  const at::Tensor logits =
      at::tensor(p, at::kDouble).log() * 2;  // at temperature 2 the probabilities are p
  const auto frequencies = [&](double top_p) {
    constexpr int kDraws = 20'000;
    std::vector<double> counts(4);
    for (int step = 0; step < kDraws; ++step)
      counts[choose_token(logits, {.temperature = 2, .top_p = top_p, .seed = 3}, step)] +=
          1.0 / kDraws;
    return counts;
  };
  const auto near = [](double a, double b) {
    return std::abs(a - b) < 0.02;
  };  // over five standard errors
  const auto all = frequencies(1);
  for (std::size_t i = 0; i < 4; ++i) CHECK(near(all[i], p[i]));
  const auto nucleus = frequencies(0.7);  // the first two hold 0.75
  CHECK((near(nucleus[0], 2.0 / 3) && near(nucleus[1], 1.0 / 3) && nucleus[2] == 0 &&
         nucleus[3] == 0));
  CHECK(frequencies(0)[0] > 0.999);  // never empty
}

// transformers' RepetitionPenaltyLogitsProcessor: scores below 0 are multiplied, others divided.
TEST_CASE("a penalty makes what was seen less probable, once however often it was", "[unit]") {
  const at::Tensor logits = at::tensor({2.0, 1.9, -1.0, -1.05}, at::kDouble);
  const std::vector<std::int64_t> first{0, 0, 0}, both{0, 1};
  const Sampling penalty{.repetition_penalty = 1.1};
  CHECK(choose_token(logits, penalty, 0) == 0);
  CHECK(choose_token(logits, penalty, 0, first) == 1);  // 2.0 / 1.1 < 1.9, not / 1.331
  CHECK(choose_token(logits, penalty, 0, both) == 0);
  const at::Tensor below = at::tensor({-1.0, -1.05}, at::kDouble);
  CHECK(choose_token(below, penalty, 0, first) == 1);
  CHECK(choose_token(below, {}, 0, first) == 0);
}

TEST_CASE("top_k draws among the k most probable, and the nucleus is one of these", "[unit]") {
  const at::Tensor logits = at::tensor({0.4, 0.3, 0.2, 0.1}, at::kDouble).log();
  const auto drawn = [&](std::int64_t top_k, double top_p) {
    std::vector<double> counts(4);
    for (int step = 0; step < 2000; ++step)
      ++counts[choose_token(logits, {.temperature = 1, .top_p = top_p, .top_k = top_k, .seed = 5},
                            step)];
    return counts;
  };
  const auto two = drawn(2, 1);
  CHECK((two[0] > 1000 && two[1] > 700 && two[2] == 0 && two[3] == 0));
  CHECK(drawn(1, 1)[0] == 2000);
  CHECK(drawn(2, 0.5)[0] == 2000);  // 0.4 of 0.7 is over a half
  CHECK(drawn(0, 1) == drawn(4, 1));
}

TEST_CASE("generation ends where the caller says", "[unit]") {
  const QwenVL qwen = QwenVL::random(small_config(), {}, 8);
  const auto ids = qwen.generate(
      small_batch({{{8, 4}}}, 5),
      {.max_new_tokens = 9, .stop_when = [](const auto& all) { return all.size() == 4; }});
  CHECK(ids.size() == 4);
}

TEST_CASE("a logit that is not a number stops generation", "[unit][fault]") {
  const at::Tensor bad = at::tensor({1.0, std::numeric_limits<double>::quiet_NaN()});
  CHECK_THROWS_AS(choose_token(bad, {}, 0), NumericError);
}

TEST_CASE("sampled text depends on the seed alone and is told as it comes", "[unit]") {
  const QwenVL qwen = QwenVL::random(small_config(), {}, 8);
  const MicroBatch prompt = small_batch({{{8, 4}}}, 5);
  const auto run = [&](std::uint64_t seed) {
    std::vector<std::int64_t> told;
    const auto ids =
        qwen.generate(prompt, {.max_new_tokens = 12,
                               .sampling = {.temperature = 3, .top_p = 0.95, .seed = seed},
                               .on_token = [&](std::int64_t id) { told.push_back(id); }});
    CHECK(told == ids);
    return ids;
  };
  CHECK(run(1) == run(1));
  CHECK(run(1) != run(2));
}
