#include "data/sampler.h"

#include <fmt/core.h>

#include <algorithm>
#include <iterator>
#include <span>
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

std::vector<PackWeight> all_samples(const SamplerOptions& options, std::size_t samples) {
  if (!options.packs.empty()) return options.packs;
  return {{static_cast<std::int64_t>(samples), 1}};
}

}  // namespace

Sampler::Sampler(std::vector<SampleSize> sizes, SamplerOptions options, SizesOfEpoch augmented)
    : sizes_(std::move(sizes)),
      options_(std::move(options)),
      augmented_(std::move(augmented)),
      order_(all_samples(options_, sizes_.size()), options_.repeat, options_.seed) {
  check_options(options_);
  for (std::size_t i = 0; i < sizes_.size(); ++i) {
    if (sizes_[i].dropped || options_.limits().hold({}, sizes_[i])) continue;
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

std::vector<MicroBatchPlan> Sampler::deal(const std::vector<std::int64_t>& order,
                                          const std::vector<SampleSize>& sizes,
                                          std::int64_t epoch) const {
  const Rng steps(seed_of(options_.seed, hash_name("steps")), static_cast<std::uint64_t>(epoch));
  return fill(order, sizes, options_.limits(), options_.cost, options_.micro_batches_per_step,
              steps);
}

std::vector<MicroBatchPlan> Sampler::epoch(std::int64_t epoch, std::int64_t first_step) const {
  std::vector<std::int64_t> order = order_.of(epoch);
  std::erase_if(order,
                [this](std::int64_t i) { return sizes_[static_cast<std::size_t>(i)].dropped; });
  const bool closed_before = first_step >= options_.close_step || epoch >= options_.close_epoch;
  if (!augmented_ || closed_before) return deal(order, sizes_, epoch);
  std::vector<MicroBatchPlan> list = deal(order, augmented_(epoch), epoch);
  for (MicroBatchPlan& plan : list) plan.as_stored = false;
  const auto steps = static_cast<std::int64_t>(list.size()) / options_.micro_batches_per_step;
  const std::int64_t closed = options_.close_step - first_step;
  if (closed < steps) close(list, epoch, closed);
  return list;
}

// The samples of step `step` of the epoch and later ones, shuffled and dealt as stored.
void Sampler::close(std::vector<MicroBatchPlan>& list, std::int64_t epoch,
                    std::int64_t step) const {
  const auto first = static_cast<std::size_t>(step * options_.micro_batches_per_step);
  std::vector<std::int64_t> rest;
  for (const MicroBatchPlan& plan : std::span(list).subspan(first))
    rest.insert(rest.end(), plan.samples.begin(), plan.samples.end());
  Rng(seed_of(options_.seed, hash_name("close")), static_cast<std::uint64_t>(epoch)).shuffle(rest);
  list.resize(first);
  std::vector<MicroBatchPlan> closed = deal(rest, sizes_, epoch);
  std::move(closed.begin(), closed.end(), std::back_inserter(list));
}

std::int64_t Sampler::steps(std::int64_t epoch_index, std::int64_t first_step) const {
  return static_cast<std::int64_t>(epoch(epoch_index, first_step).size()) /
         options_.micro_batches_per_step;
}

FillReport Sampler::report(const std::vector<MicroBatchPlan>& list) const {
  return report_fill(list, options_.limits(), options_.micro_batches_per_step);
}

FillReport Sampler::report_step(const std::vector<MicroBatchPlan>& list, std::int64_t step) const {
  const std::int64_t group = options_.micro_batches_per_step;
  return report_fill(std::span(list).subspan(static_cast<std::size_t>(step * group),
                                             static_cast<std::size_t>(group)),
                     options_.limits(), group);
}

std::int64_t Sampler::dropped() const {
  return std::count_if(sizes_.begin(), sizes_.end(),
                       [](const SampleSize& size) { return size.dropped; });
}

}  // namespace muster::data
