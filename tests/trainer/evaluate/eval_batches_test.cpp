#include "trainer/evaluate/eval_batches.h"

#include <algorithm>
#include <catch2/catch_test_macros.hpp>
#include <chrono>
#include <functional>
#include <numeric>

#include "trainer/assembly/options.h"
#include "trainer/checkpoint/model_folder.h"
#include "trainer/tiny_run.h"

namespace muster::trainer {
namespace {

std::vector<std::int64_t> joined_batches(const SampleBatches& batches) {
  std::vector<std::int64_t> samples;
  for (const std::vector<std::int64_t>& batch : batches)
    samples.insert(samples.end(), batch.begin(), batch.end());
  return samples;
}

data::SampleSize of_tokens(std::int64_t tokens) {
  data::SampleSize size;
  size.tokens = tokens;
  return size;
}

TEST_CASE("evaluation: a batch begins where a sample does not fit the one before", "[unit]") {
  BatchRoom room({.max_tokens = 8, .max_vision_tokens = 1, .max_samples = 2});
  const auto begins = [&](std::int64_t tokens) { return room.begins(of_tokens(tokens)); };
  CHECK(begins(20));  // more than fits, and so alone
  CHECK(begins(3));
  CHECK_FALSE(begins(5));
  CHECK(begins(1));  // two samples are all that a batch has
  CHECK_FALSE(begins(1));
  CHECK(begins(1));
  CHECK(begins(8));
}

TEST_CASE("evaluation: batches hold all samples, the costliest first, each within the limits",
          "[unit]") {
  const TempDir dir;
  const configs::Config config = test::tiny_config(dir.path(), {"data.answer=json", "loss.lm=1"});
  const data::Tokenizer tokenizer(config.tokens.tokenizer);
  const data::SampleEncoder encoder(
      tokenizer, encode_options(config, model::read_config(find_model(config.model))));
  const data::SampleSet set = data::open_set(configs::pack_files(config.data.train));
  std::int64_t most = 0;
  for (std::int64_t i = 0; i < set.size(); ++i)
    most = std::max(most, encoder.measure(set.sample(i)).tokens);
  const EvalOptions options{
      .limits = {.max_tokens = 2 * most + most / 2, .max_vision_tokens = 100000, .max_samples = 5},
      .cost = {.token = 3}};
  const EvalBatches batches = eval_batches(set, encoder, options, 1);
  for (const std::vector<std::int64_t>& batch : batches.all) {
    data::MicroBatchPlan plan;
    for (const std::int64_t sample : batch) {
      const data::SampleSize size = encoder.measure(set.sample(sample));
      CHECK(options.limits.hold(plan, size));
      plan.samples.push_back(sample);
      plan.tokens += size.tokens;
    }
  }
  const std::vector<std::int64_t> order = joined_batches(batches.all);
  std::vector<std::int64_t> costs;
  for (const std::int64_t sample : order)
    costs.push_back(options.cost.of(encoder.measure(set.sample(sample))));
  CHECK(std::ranges::is_sorted(costs, std::ranges::greater()));
  CHECK(costs.front() > costs.back());
  std::vector<std::int64_t> sorted = order;
  std::ranges::sort(sorted);
  std::vector<std::int64_t> every(static_cast<std::size_t>(set.size()));
  std::iota(every.begin(), every.end(), std::int64_t{0});
  CHECK(sorted == every);
  CHECK(batches.boxes == batches.all);  // all are annotated
  CHECK(batches.all.size() < every.size() / 2 + 1);
  // Who measures makes no difference.
  CHECK(eval_batches(set, encoder, options, 3).all == batches.all);
}

TEST_CASE("evaluation: ranks share a list without a gap", "[unit]") {
  for (const std::size_t entries : {0, 2, 3, 7}) {
    INFO(entries);
    std::vector<int> seen(entries, 0);
    for (const auto& collective : sharding::make_threads(3, std::chrono::seconds(1))) {
      const RankShare own(entries, *collective);
      for (std::int64_t i = 0; i < own.count(); ++i) ++seen[own[i]];
    }
    CHECK(seen == std::vector<int>(entries, 1));
  }
}

}  // namespace
}  // namespace muster::trainer
