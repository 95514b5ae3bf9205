// How long a run is, and how far it has come: schedule.max_steps or schedule.epochs, told in steps,
// epochs and images.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "configs/config.h"
#include "data/pack/cursor.h"
#include "data/sample_set.h"
#include "data/sampler.h"

namespace muster::trainer {

// Where a step stands in its run, in steps from 0. Of a run of whole epochs it is counted as if
// every epoch had as many steps as the first, so that the end is known before later epochs are
// planned, and is reached exactly at the last epoch's end.
struct RunPosition {
  double step = 0;
  double steps = 0;  // of the whole run
};

class RunLength {
 public:
  // Plans the first epoch when the run is said in epochs.
  RunLength(const configs::Schedule& schedule, const data::Sampler& sampler);

  std::int64_t steps() const { return steps_; }  // as RunPosition counts them
  bool counts_epochs() const { return epochs_.has_value(); }
  // `step` optimizer steps are done, and `next` is the next one's place in the data.
  bool over(std::int64_t step, const data::Cursor& next) const;
  RunPosition position(std::int64_t step, const data::Cursor& next,
                       std::int64_t steps_in_epoch) const;

 private:
  std::optional<std::int64_t> epochs_;
  std::int64_t steps_per_epoch_ = 0;  // of the first epoch; 0 when epochs do not count
  std::int64_t steps_ = 0;
};

// What a run goes through. Beyond the first epoch it is extrapolated.
struct LengthReport {
  std::int64_t steps = 0;
  std::int64_t steps_per_epoch = 0;
  double epochs = 0;
  std::int64_t samples = 0;
  std::int64_t images = 0;

  // "3000 steps, 93.75 epochs of 32 steps, 24000 images"
  std::string text() const;
  // What is seldom meant (T-009): more epochs than anybody needs, or not even one. Sentences.
  std::vector<std::string> warnings() const;
};

LengthReport report_length(const configs::Schedule& schedule, const data::Sampler& sampler,
                           const data::SampleSet& set);

}  // namespace muster::trainer
