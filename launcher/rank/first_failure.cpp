#include "launcher/rank/first_failure.h"

#include <fmt/core.h>

#include <algorithm>
#include <csignal>
#include <cstring>
#include <map>
#include <tuple>

#include "base/error.h"

namespace muster::launcher {
namespace {

constexpr int kStopped = static_cast<int>(ExitCode::kStoppedOnRequest);

// Neither root nor victim: it only says or shows that another rank is gone.
bool reacts(const RankStatus& status, const std::set<int>& cascades) {
  return status.consequence || status.signal == SIGTERM || cascades.contains(status.rank);
}

// A rank that aborts may be ended by mpirun, which hears of it at once, before it has left.
bool ended_by_others(const RankStatus& status) {
  const bool spoke_first = status.error_unix > 0 && !status.consequence;
  return status.torn_down && !spoke_first;
}

}  // namespace

bool left_early(const RankEvidence& rank) {
  return rank.status.ended() && rank.status.exit_code == 0 && rank.last &&
         rank.last->phase != Phase::kDone;
}

bool ended_badly(const RankEvidence& rank) {
  if (!rank.status.ended()) return false;
  return left_early(rank) || (rank.status.exit_code != 0 && rank.status.exit_code != kStopped);
}

double failure_time(const RankStatus& status) {
  if (status.error_unix <= 0) return status.end_unix;
  return std::min(status.error_unix, status.end_unix);
}

std::optional<FirstFailure> first_failure(std::span<const RankEvidence> ranks,
                                          const std::set<int>& cascades) {
  const auto blame = [&](const RankStatus& status) {  // the smallest is to blame
    return std::tuple(reacts(status, cascades), failure_time(status), status.rank);
  };
  const RankEvidence* first = nullptr;
  for (const RankEvidence& rank : ranks) {
    if (!ended_badly(rank) || ended_by_others(rank.status)) continue;
    if (first == nullptr || blame(rank.status) < blame(first->status)) first = &rank;
  }
  if (first == nullptr) return std::nullopt;
  return FirstFailure{*first, failure_time(first->status), describe_end(*first)};
}

std::string describe_end(const RankEvidence& rank) {
  const RankStatus& s = rank.status;
  std::string text = fmt::format("rank {} on {} ", s.rank, s.host);
  if (s.torn_down) {
    text += "failed";
  } else if (s.signal != 0) {
    const char* name = ::sigabbrev_np(s.signal);
    text += fmt::format("was killed by signal {} ({})", s.signal, name != nullptr ? name : "?");
  } else if (left_early(rank)) {
    text += "left with code 0 before the end";
  } else {
    text += fmt::format("left with code {}", s.exit_code);
  }
  if (rank.last) {
    text += fmt::format(" in phase {} of step {}", phase_name(rank.last->phase), rank.last->step);
    if (rank.last->collective >= 0) text += fmt::format(", collective {}", rank.last->collective);
  }
  if (!s.error.empty()) text += ": " + s.error;
  return text;
}

std::vector<RankEvidence> read_rank_evidence(const std::filesystem::path& run_dir, int ranks,
                                             int attempt) {
  std::vector<RankEvidence> all;
  for (int rank = 0; rank < ranks; ++rank) {
    const auto status = read_rank_status(run_dir, rank);
    if (!status || status->rank != rank || status->attempt != attempt) continue;
    RankEvidence one{*status, std::nullopt};
    const auto box = read_flight_log(flight_file(run_dir, rank), 1);
    if (box && !box->events.empty()) one.last = box->events.back();
    all.push_back(std::move(one));
  }
  return all;
}

std::vector<RankEvidence> merge_evidence(std::vector<RankEvidence> told,
                                         std::vector<RankEvidence> kept) {
  std::map<int, RankEvidence> all;
  for (RankEvidence& rank : told) all[rank.status.rank] = std::move(rank);
  for (RankEvidence& rank : kept) {
    const auto [known, is_new] = all.try_emplace(rank.status.rank, rank);
    if (is_new || !rank.status.ended()) continue;
    if (!rank.last) rank.last = known->second.last;
    known->second = std::move(rank);
  }
  std::vector<RankEvidence> merged;
  for (auto& [number, rank] : all) merged.push_back(std::move(rank));
  return merged;
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
