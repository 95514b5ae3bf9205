#include "trainer/assembly/run_length.h"

#include <fmt/core.h>

namespace muster::trainer {

RunLength::RunLength(const configs::Schedule& schedule, const data::Sampler& sampler)
    : epochs_(schedule.epochs), steps_(schedule.max_steps.value_or(0)) {
  if (!epochs_) return;
  steps_per_epoch_ = sampler.steps(0);
  steps_ = *epochs_ * steps_per_epoch_;
}

bool RunLength::over(std::int64_t step, const data::Cursor& next) const {
  return epochs_ ? next.epoch >= *epochs_ : step >= steps_;
}

RunPosition RunLength::position(std::int64_t step, const data::Cursor& next,
                                std::int64_t steps_in_epoch) const {
  if (!epochs_) return {static_cast<double>(step), static_cast<double>(steps_)};
  // A factor of exactly 1 where the epochs are equally long: positions are whole numbers then.
  const double stretch =
      static_cast<double>(steps_per_epoch_) / static_cast<double>(steps_in_epoch);
  return {static_cast<double>(next.epoch * steps_per_epoch_) +
              static_cast<double>(next.step_in_epoch) * stretch,
          static_cast<double>(steps_)};
}

LengthReport report_length(const configs::Schedule& schedule, const data::Sampler& sampler,
                           const data::SampleSet& set) {
  const std::vector<data::MicroBatchPlan> first = sampler.epoch(0);
  std::int64_t samples = 0;
  std::int64_t images = 0;
  for (const data::MicroBatchPlan& plan : first) {
    for (const std::int64_t i : plan.samples) {
      ++samples;
      images += static_cast<std::int64_t>(set.sample(i).pictures.size());
    }
  }
  LengthReport report;
  report.steps_per_epoch =
      static_cast<std::int64_t>(first.size()) / sampler.options().micro_batches_per_step;
  const std::int64_t whole = schedule.epochs.value_or(0) * report.steps_per_epoch;
  report.steps = schedule.max_steps.value_or(whole);
  report.epochs = static_cast<double>(report.steps) / static_cast<double>(report.steps_per_epoch);
  report.samples = static_cast<std::int64_t>(report.epochs * static_cast<double>(samples));
  report.images = static_cast<std::int64_t>(report.epochs * static_cast<double>(images));
  return report;
}

std::string LengthReport::text() const {
  return fmt::format("{} steps, {:.4g} epochs of {} steps, {} images", steps, epochs,
                     steps_per_epoch, images);
}

std::vector<std::string> LengthReport::warnings() const {
  constexpr double kManyEpochs = 1000;
  if (epochs > kManyEpochs) {
    return {
        fmt::format("the run is {:.0f} epochs long: {} steps of which {} are one pass over "
                    "data.train. schedule.max_steps counts optimizer steps; schedule.epochs "
                    "counts passes",
                    epochs, steps, steps_per_epoch)};
  }
  if (epochs < 1) {
    return {
        fmt::format("the run is {:.2g} epochs long: {} steps of the {} that one pass over "
                    "data.train takes. schedule.epochs counts passes",
                    epochs, steps, steps_per_epoch)};
  }
  return {};
}

}  // namespace muster::trainer
