// Dynamic loss scale for fp16: gradients below 6e-8 vanish in half precision, so the loss is
// multiplied by a power of two and the step divides it out again, exactly. A pure value: all ranks
// see the same verdicts, so they agree.
#pragma once

#include <cstdint>

namespace muster::sharding {

struct LossScaleOptions {
  double initial = 1;                // a power of two
  std::int64_t growth_interval = 0;  // finite steps in a row before it doubles
  // Overflows before it halves for the first time after a growth; then each one does.
  std::int64_t hysteresis = 1;
};

class LossScaler {
 public:
  struct State {
    double scale = 1;
    std::int64_t good_steps = 0;      // in a row
    std::int64_t overflows_left = 0;  // to be borne before the scale goes down
    bool operator==(const State&) const = default;
  };

  LossScaler() = default;  // off: 1 for ever
  // Throws ConfigError unless `initial` is a power of two >= 1.
  explicit LossScaler(const LossScaleOptions& options);

  double scale() const { return state_.scale; }
  // Once per step. True when the step was not finite and a lower scale may cure that: nothing is
  // wrong with the data.
  bool update(bool finite);

  const State& state() const { return state_; }
  void restore(const State& state);  // nothing when off

 private:
  LossScaleOptions options_;
  State state_;
  bool on_ = false;
};

}  // namespace muster::sharding
