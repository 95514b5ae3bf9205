// What to do with a step's numbers (law 10; diary rows T-001 and T-002). It depends on the verdict
// alone, so all ranks decide alike.
#pragma once

#include <cstdint>
#include <deque>
#include <string>

#include "configs/config.h"
#include "sharding/engine_options.h"
#include "trainer/checkpoint/manifest/run_state.h"
#include "trainer/loss_terms.h"

namespace muster::trainer {

class Health {
 public:
  // `state`: what a checkpoint remembers of the steps before.
  explicit Health(const configs::Health& config, HealthState state = {})
      : config_(config), state_(std::move(state)) {}

  // True: apply the step. False: skip it on every rank; `reason()` says why. The learning rate is
  // backed off unless only the loss scale was too high, which is no fault and counts as none.
  // Throws NumericError after more than max_skips_in_row skips in a row.
  bool accept(std::int64_t step, const sharding::StepVerdict& verdict,
              const LossTerms::Report& loss, const LossTerms& terms);
  const std::string& reason() const { return reason_; }

  const HealthState& state() const { return state_; }

 private:
  std::string problem(const sharding::StepVerdict& verdict, const LossTerms::Report& loss,
                      const LossTerms& terms) const;

  configs::Health config_;
  HealthState state_;
  std::string reason_;
};

}  // namespace muster::trainer
