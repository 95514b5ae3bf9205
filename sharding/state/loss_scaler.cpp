#include "sharding/state/loss_scaler.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "base/error.h"

namespace muster::sharding {

constexpr double kLargestScale = 0x1p30;  // the loss itself stays finite in fp32

LossScaler::LossScaler(const LossScaleOptions& options)
    : options_(options),
      state_{.scale = options.initial, .good_steps = 0, .overflows_left = options.hysteresis},
      on_(true) {
  int exponent = 0;
  if (!(options.initial >= 1 && options.initial <= kLargestScale) ||
      std::frexp(options.initial, &exponent) != 0.5) {
    throw ConfigError(
        fmt::format("optimizer.loss_scale_initial is {}: it must be a power of two from 1 to 2^30",
                    options.initial));
  }
}

bool LossScaler::update(bool finite) {
  if (!on_) return false;
  if (finite) {
    if (++state_.good_steps < options_.growth_interval) return false;
    state_ = {std::min(2 * state_.scale, kLargestScale), 0, options_.hysteresis};
    return false;
  }
  state_.good_steps = 0;
  if (state_.scale <= 1) return false;
  state_.overflows_left = std::max<std::int64_t>(state_.overflows_left - 1, 0);
  if (state_.overflows_left == 0) state_.scale /= 2;
  return true;
}

void LossScaler::restore(const State& state) {
  if (on_) state_ = state;
}

}  // namespace muster::sharding
