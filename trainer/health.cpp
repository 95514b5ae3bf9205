#include "trainer/health.h"

#include <fmt/core.h>

#include <cmath>
#include <numeric>

#include "base/error.h"

namespace muster::trainer {
namespace {

constexpr double kRecoveryPerStep = 1.02;  // a backed-off rate climbs back over the next good steps

}  // namespace

std::string Health::problem(const sharding::StepVerdict& verdict, const LossTerms::Report& loss,
                            const LossTerms& terms) const {
  for (std::int64_t i = 0; i < terms.size(); ++i) {
    if (!std::isfinite(loss.terms[i]))
      return fmt::format("loss.{} is not finite ({})", terms.name(i), loss.terms[i]);
  }
  if (!verdict.finite) {
    return fmt::format("gradient of {} is not finite, first on rank {}", verdict.culprit_param,
                       verdict.culprit_rank);
  }
  if (config_.max_grad_norm > 0 && verdict.grad_norm > config_.max_grad_norm) {
    return fmt::format("gradient norm {:.4g} is above health.max_grad_norm {:.4g}",
                       verdict.grad_norm, config_.max_grad_norm);
  }
  const auto window = static_cast<std::size_t>(config_.loss_spike_window);
  if (config_.loss_spike_factor > 0 && window > 0 && state_.recent_losses.size() >= window) {
    const double mean =
        std::accumulate(state_.recent_losses.begin(), state_.recent_losses.end(), 0.0) /
        static_cast<double>(state_.recent_losses.size());
    if (loss.total > config_.loss_spike_factor * mean) {
      return fmt::format("loss spike: {:.4g} is over {:.3g} x {:.4g}, the mean of the last {}",
                         loss.total, config_.loss_spike_factor, mean, window);
    }
  }
  return "";
}

bool Health::accept(std::int64_t step, const sharding::StepVerdict& verdict,
                    const LossTerms::Report& loss, const LossTerms& terms) {
  if (verdict.scale_too_high) {
    reason_ = fmt::format("gradients overflow fp16 at loss scale {}", verdict.loss_scale);
    return false;
  }
  reason_ = problem(verdict, loss, terms);
  if (reason_.empty()) {
    state_.skips_in_row = 0;
    state_.lr_scale = std::min(1.0, state_.lr_scale * kRecoveryPerStep);
    state_.recent_losses.push_back(loss.total);
    if (state_.recent_losses.size() > static_cast<std::size_t>(config_.loss_spike_window))
      state_.recent_losses.pop_front();
    return true;
  }
  ++state_.skips;
  state_.lr_scale *= config_.lr_backoff;
  if (++state_.skips_in_row > config_.max_skips_in_row) {
    throw NumericError(
        fmt::format("step {}: {}. health gives up: {} steps skipped in a row "
                    "(health.max_skips_in_row {}). Lower the learning rates, or "
                    "look at the samples the log names",
                    step, reason_, state_.skips_in_row, config_.max_skips_in_row));
  }
  return false;
}

}  // namespace muster::trainer
