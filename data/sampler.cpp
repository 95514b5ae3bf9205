#include "data/sampler.h"

#include <fmt/core.h>

#include <algorithm>
#include <utility>

#include "base/error.h"
#include "base/rng.h"

namespace muster::data {
namespace {

void check_options(const SamplerOptions& options) {
  const auto positive = [](const char* key, std::int64_t value) {
    if (value <= 0)
      throw ConfigError(fmt::format("batch.{} is {}; at least 1 is needed", key, value));
  };
  positive("micro_batches_per_step", options.micro_batches_per_step);
  positive("max_tokens", options.max_tokens);
  positive("max_vision_tokens", options.max_vision_tokens);
  positive("max_samples", options.max_samples);
}

bool fits(const MicroBatchPlan& plan, const SampleSize& sample, const SamplerOptions& options) {
  return plan.tokens + sample.tokens <= options.max_tokens &&
         plan.vision_tokens + sample.vision_tokens <= options.max_vision_tokens &&
         static_cast<std::int64_t>(plan.samples.size()) < options.max_samples;
}

void append(MicroBatchPlan& plan, std::int64_t index, const SampleSize& sample) {
  plan.samples.push_back(index);
  plan.tokens += sample.tokens;
  plan.vision_tokens += sample.vision_tokens;
  plan.denominators += sample.denominators;
}

}  // namespace

Sampler::Sampler(std::vector<SampleSize> sizes, SamplerOptions options)
    : sizes_(std::move(sizes)), options_(options) {
  check_options(options_);
  for (std::size_t i = 0; i < sizes_.size(); ++i) {
    if (sizes_[i].dropped || fits({}, sizes_[i], options_)) continue;
    throw DataError(
        fmt::format("sample {} of the pack has {} tokens, {} of them vision, and fits no "
                    "micro-batch (batch.max_tokens = {}, "
                    "batch.max_vision_tokens = {}): raise the budget",
                    i, sizes_[i].tokens, sizes_[i].vision_tokens, options_.max_tokens,
                    options_.max_vision_tokens));
  }
  if (dropped() == static_cast<std::int64_t>(sizes_.size()))
    throw DataError(fmt::format(
        "no sample to train on: {} in the pack, all over the vision-token budget", sizes_.size()));
}

std::vector<MicroBatchPlan> Sampler::epoch(std::int64_t epoch) const {
  std::vector<std::int64_t> order;
  for (std::size_t i = 0; i < sizes_.size(); ++i)
    if (!sizes_[i].dropped) order.push_back(static_cast<std::int64_t>(i));
  Rng(options_.seed, static_cast<std::uint64_t>(epoch)).shuffle(order);
  std::vector<MicroBatchPlan> list;
  for (const std::int64_t index : order) {
    const SampleSize& sample = sizes_[index];
    if (list.empty() || !fits(list.back(), sample, options_)) list.emplace_back();
    append(list.back(), index, sample);
  }
  // Empty micro-batches come last: dealt out in turn, they leave any two ranks at most one real one
  // apart.
  const auto group = static_cast<std::size_t>(options_.micro_batches_per_step);
  list.resize((list.size() + group - 1) / group * group);
  return list;
}

std::int64_t Sampler::steps(std::int64_t epoch_index) const {
  return static_cast<std::int64_t>(epoch(epoch_index).size()) / options_.micro_batches_per_step;
}

std::int64_t Sampler::dropped() const {
  return std::count_if(sizes_.begin(), sizes_.end(),
                       [](const SampleSize& size) { return size.dropped; });
}

}  // namespace muster::data
