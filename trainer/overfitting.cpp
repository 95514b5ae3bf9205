#include "trainer/overfitting.h"

#include <fmt/core.h>

#include <cmath>
#include <utility>

namespace muster::trainer {

void OverfitWatch::step(double training_loss) {
  if (!std::isfinite(training_loss)) return;
  sum_ += training_loss;
  ++steps_;
}

std::optional<std::string> OverfitWatch::evaluation(std::int64_t step, double validation_loss) {
  constexpr double kRise = 1.05;
  if (steps_ == 0 || !std::isfinite(validation_loss)) return std::nullopt;
  const double training =
      std::exchange(sum_, 0.0) / static_cast<double>(std::exchange(steps_, std::int64_t{0}));
  if (validation_loss < lowest_) {
    lowest_ = validation_loss;
    lowest_step_ = step;
    training_then_ = training;
    said_ = false;
    return std::nullopt;
  }
  if (said_ || validation_loss < kRise * lowest_ || training >= training_then_) return std::nullopt;
  said_ = true;
  return fmt::format(
      "the validation loss rises, {:.4g} after {:.4g} at step {}, while the training loss falls, "
      "{:.4g} to {:.4g}: the run learns its data by heart (T-007)",
      validation_loss, lowest_, lowest_step_, training_then_, training);
}

}  // namespace muster::trainer
