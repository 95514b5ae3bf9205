// What to do with a step's numbers (laws 10; FAILURES T-001, T-002). Pure given the verdict, so all
// ranks decide alike.
#pragma once

#include <cstdint>
#include <deque>
#include <string>

#include "configs/config.h"
#include "sharding/engine.h"
#include "trainer/checkpoint/run_state.h"
#include "trainer/loss_terms.h"

namespace muster::trainer {

class Health {
 public:
  explicit Health(const configs::Health& config) : config_(config) {}

  // True: apply the step. False: skip it on every rank; `reason()` says why and the learning rate
  // is backed off. Throws NumericError after more than max_skips_in_row skips in a row.
  bool accept(std::int64_t step, const sharding::StepVerdict& verdict,
              const LossTerms::Report& loss, const LossTerms& terms);
  const std::string& reason() const { return reason_; }

  const HealthState& state() const { return state_; }
  void restore(HealthState state) { state_ = std::move(state); }

 private:
  std::string problem(const sharding::StepVerdict& verdict, const LossTerms::Report& loss,
                      const LossTerms& terms) const;

  configs::Health config_;
  HealthState state_;
  std::string reason_;
};

}  // namespace muster::trainer
