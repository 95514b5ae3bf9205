// The gradients of one micro-batch, parameter by parameter: `muster check --gradients`.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/tensors/micro_batch.h"
#include "configs/config.h"
#include "model/detector.h"
#include "trainer/anomaly.h"

namespace muster::trainer {

// Norms and the largest value are those of the finite elements, without the loss scale.
struct ParameterGradient {
  std::string name;
  std::vector<std::int64_t> shape;
  bool reached = false;  // false: backward left no gradient here
  double norm = 0;
  double weight_norm = 0;
  double largest = 0;           // |g|
  std::int64_t non_finite = 0;  // elements
  bool behind_zeros = false;    // an adapter's A, which gets none while its B is zeros

  // How far one step of plain descent would move the weight, relative to itself.
  double ratio() const;
  bool vanished() const { return norm == 0 && non_finite == 0 && !behind_zeros; }
};

struct GroupGradients {
  std::string name;
  double lr = 0;  // the peak; 0: frozen, and no parameter is listed
  double norm = 0;
  double weight_norm = 0;
  // Those that are not finite come first, then the largest ratio.
  std::vector<ParameterGradient> parameters = {};
};

struct GradientReport {
  double loss = 0;                                    // weighted
  std::vector<std::pair<std::string, double>> terms;  // unweighted, 0 where one has no part
  double loss_scale = 1;                              // that backward ran with
  double norm = 0;                                    // of all groups together
  std::int64_t non_finite = 0;                        // elements
  std::vector<GroupGradients> groups;
  std::optional<Anomaly> anomaly;  // of a watched batch
};

// Which micro-batch it is, and whether each of its operations is looked at.
struct GradientOptions {
  std::int64_t number = 0;  // in the run, which keys its noise
  bool watched = false;     // slow: finds the operation that makes the first NaN
};

// Runs the detector forward and backward once, in training mode, as one rank whose step has this
// micro-batch alone. Throws DataError when no loss
// term takes part.
GradientReport report_gradients(const configs::Config& config, model::Detector& detector,
                                const MicroBatch& batch, const GradientOptions& options = {});

}  // namespace muster::trainer
