// Does the run learn its training data by heart? The loss on data.val rises while the one on what
// is trained falls (diary row T-007).
#pragma once

#include <cstdint>
#include <limits>
#include <optional>
#include <string>

namespace muster::trainer {

class OverfitWatch {
 public:
  void step(double training_loss);
  // A sentence when validation has left its lowest loss behind by a twentieth while training went
  // on falling; once for each lowest loss. Losses that are no numbers are passed over.
  std::optional<std::string> evaluation(std::int64_t step, double validation_loss);

 private:
  double sum_ = 0;  // of the training losses since the evaluation before
  std::int64_t steps_ = 0;
  double lowest_ = std::numeric_limits<double>::infinity();
  std::int64_t lowest_step_ = 0;
  double training_then_ = 0;  // up to the evaluation that was lowest
  bool said_ = false;
};

}  // namespace muster::trainer
