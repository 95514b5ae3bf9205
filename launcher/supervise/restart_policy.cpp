#include "launcher/supervise/restart_policy.h"

#include <fmt/core.h>

#include <algorithm>
#include <array>

#include "base/error.h"

namespace muster::launcher {
namespace {

// Ends that another attempt on this machine cannot change.
bool is_final(int code) {
  constexpr std::array kFinal{ExitCode::kDone,        ExitCode::kUsage,
                              ExitCode::kData,        ExitCode::kPreflight,
                              ExitCode::kNumeric,     ExitCode::kStoppedOnRequest,
                              ExitCode::kDoNotRestart};
  return std::ranges::find(kFinal, static_cast<ExitCode>(code)) != kFinal.end();
}

}  // namespace

Decision RestartPolicy::decide(const AttemptOutcome& outcome) {
  if (outcome.remedy && !outcome.stop_requested && max_restarts_ > 0) {
    without_progress_ = 0;
    return {true, 0, "restart from the last checkpoint, changed"};
  }
  const int code = outcome.exit_code;
  if (is_final(code)) return {false, code, fmt::format("code {} is final", code)};
  if (outcome.stop_requested) return {false, code, "a stop was requested"};
  if (outcome.hopeless) return {false, code, "another attempt would find the same"};
  if (code == static_cast<int>(ExitCode::kOutOfMemory))
    return {false, code, "the memory ladder has no rung left"};
  return try_the_same_again(outcome);
}

Decision RestartPolicy::try_the_same_again(const AttemptOutcome& outcome) {
  if (outcome.progressed) left_ = max_restarts_;
  without_progress_ = outcome.progressed ? 0 : without_progress_ + 1;
  if (without_progress_ >= kAttemptsWithoutProgress) {
    return {false, static_cast<int>(ExitCode::kDoNotRestart),
            fmt::format("{} attempts in a row made no new checkpoint", without_progress_)};
  }
  if (left_ <= 0) {
    return {false, outcome.exit_code,
            fmt::format("the restart budget is spent (launch.max_restarts = {})", max_restarts_)};
  }
  --left_;
  return {true, 0,
          fmt::format("restart from the last checkpoint, {} of {} restarts left", left_,
                      max_restarts_)};
}

}  // namespace muster::launcher
