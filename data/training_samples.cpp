#include "data/training_samples.h"

#include <fmt/core.h>

#include <algorithm>
#include <utility>

#include "base/parallel.h"
#include "data/augment/apply.h"
#include "data/batch_builder.h"

namespace muster::data {

TrainingSamples::TrainingSamples(const SampleSet& set, const SampleEncoder& encoder,
                                 const AugmentOptions& options, const FillLimits& limits,
                                 std::uint64_t seed)
    : set_(set), encoder_(encoder), options_(options), limits_(limits), seed_(seed) {}

std::string TrainingSamples::drawn_by() const {
  const AugmentOptions& o = options_;
  return fmt::format("{} {} {} {} {} {} {} {} {} {} {} {} {}", seed_, o.flip, o.flip_words,
                     o.scale[0], o.scale[1], o.crop, o.crop_min_size, o.min_visible, o.mosaic,
                     o.max_pixels, limits_.max_tokens, limits_.max_vision_tokens,
                     limits_.max_samples);
}

TrainingSamples::Chosen TrainingSamples::choose(std::int64_t i, std::int64_t epoch) const {
  Sample stored = set_.sample(i);
  const SampleSize size = encoder_.measure(stored);
  if (epoch == kAsStored || !augments()) return {{}, std::move(stored), size};
  const SampleAt at = [this](std::int64_t other) { return set_.sample(other); };
  const DrawKey key{.seed = seed_, .epoch = epoch, .sample = i, .num_samples = set_.size()};
  Augmentation augmentation = draw(options_, key, stored, at);
  if (augmentation.tiles.empty()) return {std::move(augmentation), std::move(stored), size};
  Sample moved = data::apply(augmentation, stored, at, set_.class_map());
  const SampleSize moved_size = encoder_.measure(moved);
  if (!moved_size.dropped && limits_.hold({}, moved_size))
    return {std::move(augmentation), std::move(moved), moved_size};
  augmentation.tiles.clear();
  return {std::move(augmentation), std::move(stored), size};
}

Sample TrainingSamples::sample(std::int64_t i, std::int64_t epoch) const {
  return choose(i, epoch).sample;
}

SampleSize TrainingSamples::measure(std::int64_t i, std::int64_t epoch) const {
  return choose(i, epoch).size;
}

std::vector<Image> TrainingSamples::pictures_of(const Augmentation& augmentation, std::int64_t i,
                                                const Sample& stored) const {
  if (augmentation.tiles.empty()) return set_.pictures(i, stored);
  std::vector<Image> pictures;
  for (const Tile& tile : augmentation.tiles) {
    std::vector<Image> own = set_.pictures(tile.sample, set_.sample(tile.sample));
    pictures.push_back(std::move(own.front()));
  }
  return pictures;
}

TrainedSample TrainingSamples::made(std::int64_t i, std::int64_t epoch) const {
  Chosen chosen = choose(i, epoch);
  std::vector<Image> pictures = pictures_of(chosen.augmentation, i, chosen.sample);
  pictures = data::apply(chosen.augmentation, std::move(pictures));
  return {std::move(chosen.sample), std::move(pictures)};
}

std::vector<SampleSize> TrainingSamples::measure_all(std::int64_t epoch, int threads) const {
  std::vector<SampleSize> sizes(static_cast<std::size_t>(set_.size()));
  parallel_for("measuring samples", set_.size(), threads,
               [&](std::int64_t i) { sizes[static_cast<std::size_t>(i)] = measure(i, epoch); });
  return sizes;
}

MicroBatch TrainingSamples::encode(const MicroBatchPlan& plan, std::int64_t epoch) const {
  BatchBuilder batch;
  for (const std::int64_t i : plan.samples) {
    const TrainedSample trained = made(i, plan.as_stored ? kAsStored : epoch);
    encoder_.add(batch, i, trained.sample, trained.pictures, set_.class_map(), set_.place(i));
  }
  return batch.finish();
}

std::int64_t TrainingSamples::encoded_bytes(const MicroBatchPlan& plan) const {
  constexpr std::int64_t kIdAndLabel = 16;
  const PatchOptions& patches = encoder_.options().patches;
  const std::int64_t per_vision_token =
      patches.merge_size * patches.merge_size * patches.patch_dim() * 4;
  return std::max<std::int64_t>(1,
                                plan.vision_tokens * per_vision_token + plan.tokens * kIdAndLabel);
}

}  // namespace muster::data
