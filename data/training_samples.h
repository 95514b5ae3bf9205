// The samples of a set as an epoch trains on them: augmented, or as stored. Whoever wants to see
// what the model sees asks here; the loader does, too.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/tensors/micro_batch.h"
#include "data/augment/augmentation.h"
#include "data/encoder.h"
#include "data/fill.h"
#include "data/images/image.h"
#include "data/sample_set.h"
#include "data/sample_size.h"

namespace muster::data {

struct TrainedSample {
  Sample sample;
  std::vector<Image> pictures;  // of the sizes that `sample` says, before resizing for the model
};

class TrainingSamples {
 public:
  static constexpr std::int64_t kAsStored = -1;  // as an epoch: without augmentation

  // Keeps references to the set and the encoder. `limits` are a micro-batch's: what would not fit
  // one when its pixels move, or would be over the vision-token budget, stays where it is.
  TrainingSamples(const SampleSet& set, const SampleEncoder& encoder, const AugmentOptions& options,
                  const FillLimits& limits, std::uint64_t seed);

  bool augments() const { return options_.any(); }
  // Whether an epoch's samples may have other sizes than those that are stored.
  bool resizes() const { return options_.moves_boxes(); }
  const SampleSet& set() const { return set_; }
  const SampleEncoder& encoder() const { return encoder_; }
  // What the draws of all epochs depend on besides the set, as one line.
  std::string drawn_by() const;

  // All of these are thread-safe, and pure functions of (i, epoch) and of what the constructor was
  // given. The first two touch no picture.
  Sample sample(std::int64_t i, std::int64_t epoch) const;
  SampleSize measure(std::int64_t i, std::int64_t epoch) const;
  TrainedSample made(std::int64_t i, std::int64_t epoch) const;  // throws as SampleSet::pictures

  std::vector<SampleSize> measure_all(std::int64_t epoch, int threads) const;
  // The micro-batch of a plan of this epoch, with targets.
  MicroBatch encode(const MicroBatchPlan& plan, std::int64_t epoch) const;
  // What that takes of memory, its lists left out: at least 1.
  std::int64_t encoded_bytes(const MicroBatchPlan& plan) const;

 private:
  // What happens to a sample, and what it is then.
  struct Chosen {
    Augmentation augmentation;
    Sample sample;
    SampleSize size;
  };
  Chosen choose(std::int64_t i, std::int64_t epoch) const;
  std::vector<Image> pictures_of(const Augmentation& augmentation, std::int64_t i,
                                 const Sample& stored) const;

  const SampleSet& set_;
  const SampleEncoder& encoder_;
  AugmentOptions options_;
  FillLimits limits_;
  std::uint64_t seed_;
};

}  // namespace muster::data
