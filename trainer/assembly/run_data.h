// The data side of a run: tokenizer, packs, encoder, sampler, built and checked in one place.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "configs/config.h"
#include "data/encoder.h"
#include "data/sample_set.h"
#include "data/sampler.h"
#include "data/tokenizer/tokenizer.h"
#include "data/training_samples.h"
#include "model/files/config.h"
#include "trainer/assembly/captions.h"

namespace muster::trainer {

struct RunData {
  explicit RunData(const configs::Config& config);  // asserts special tokens (law 2)
  RunData(const RunData&) = delete;                 // members refer to each other
  RunData& operator=(const RunData&) = delete;
  void log_summary() const;  // samples, dropped, resized; captions that cannot be said

  data::Tokenizer tokenizer;
  model::QwenConfig model;
  data::SampleSet train;
  std::optional<data::SampleSet> val;
  data::SampleEncoder encoder;
  data::TrainingSamples samples;  // of train, as trained
  CaptionUse captions;            // of train
  CaptionUse val_captions;
  data::Sampler sampler;
};

// data.train, as far as data.limit says.
data::SampleSet open_training_set(const configs::Config& config);
data::TrainingSamples training_samples(const configs::Config& config, const data::SampleSet& set,
                                       const data::SampleEncoder& encoder);
// Sizes as stored of any set of the run, kept beside its packs.
std::vector<data::SampleSize> sizes_of(const configs::Config& config, const data::SampleSet& set,
                                       const data::SampleEncoder& encoder);
// Keeps a reference to the samples, whose set is open_training_set()'s. `caption_words`: as of
// token_cost().
data::Sampler training_sampler(const configs::Config& config, const model::QwenConfig& model,
                               const data::TrainingSamples& samples,
                               const data::SampleEncoder& encoder, std::int64_t caption_words);

// Tokenizer with its special tokens asserted against the config's list and the model's ids. Throws
// ConfigError.
data::Tokenizer checked_tokenizer(const configs::Config& config, const model::QwenConfig& model);

}  // namespace muster::trainer
