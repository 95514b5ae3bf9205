#include "launcher/rank/first_failure.h"

#include <fmt/core.h>

#include <algorithm>
#include <cstring>
#include <tuple>

#include "base/error.h"

namespace muster::launcher {
namespace {

constexpr int kStopped = static_cast<int>(ExitCode::kStoppedOnRequest);

bool left_early(const RankEvidence& r) {
  return r.status.exit_code == 0 && r.last && r.last->phase != Phase::kDone;
}

bool failed(const RankEvidence& r) {
  if (!r.status.ended()) return false;
  return left_early(r) || (r.status.exit_code != 0 && r.status.exit_code != kStopped);
}

double failure_time(const RankStatus& s) {
  return s.error_unix > 0 ? std::min(s.error_unix, s.end_unix) : s.end_unix;
}

auto blame(const RankEvidence& r) {  // the smallest is to blame
  return std::tuple(r.status.torn_down, r.status.consequence, failure_time(r.status));
}

}  // namespace

std::optional<FirstFailure> first_failure(std::span<const RankEvidence> ranks) {
  const RankEvidence* first = nullptr;
  for (const RankEvidence& rank : ranks) {
    if (failed(rank) && !rank.status.torn_down && (first == nullptr || blame(rank) < blame(*first)))
      first = &rank;
  }
  if (first == nullptr) return std::nullopt;
  return FirstFailure{*first, failure_time(first->status), describe_end(*first)};
}

std::string describe_end(const RankEvidence& rank) {
  const RankStatus& s = rank.status;
  std::string text = fmt::format("rank {} on {} ", s.rank, s.host);
  if (s.signal != 0) {
    text += fmt::format("was killed by signal {} ({})", s.signal,
                        ::sigabbrev_np(s.signal) ? ::sigabbrev_np(s.signal) : "?");
  } else if (left_early(rank)) {
    text += "left with code 0 before the end";
  } else {
    text += fmt::format("left with code {}", s.exit_code);
  }
  if (rank.last) {
    text += fmt::format(" in phase {} of step {}", phase_name(rank.last->phase), rank.last->step);
    if (rank.last->collective >= 0) text += fmt::format(", collective {}", rank.last->collective);
  }
  return s.error.empty() ? text : text + ": " + s.error;
}

int exit_code_for(const RankStatus& status) {
  switch (static_cast<ExitCode>(status.exit_code)) {
    case ExitCode::kUsage:
    case ExitCode::kData:
    case ExitCode::kPreflight:
    case ExitCode::kHang:
    case ExitCode::kIo:
    case ExitCode::kNumeric:
    case ExitCode::kOutOfMemory:
    case ExitCode::kDoNotRestart: return status.exit_code;
    default: return static_cast<int>(ExitCode::kRankFailed);
  }
}

}  // namespace muster::launcher
