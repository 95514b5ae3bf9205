#include "launcher/triage/triage.h"

#include <algorithm>

namespace muster::launcher {
namespace {

bool all_done(const Evidence& evidence, std::span<const RankEvidence> ranks) {
  const auto done = [](const RankEvidence& rank) {
    return rank.status.exit_code == 0 && !ended_badly(rank);
  };
  return evidence.whole_run && !ranks.empty() && std::ranges::all_of(ranks, done);
}

}  // namespace

Verdict triage(const Evidence& evidence, const Diary& diary) {
  const std::vector<RankEvidence> ranks = ranks_of(evidence);
  Verdict verdict;
  verdict.matches = match_rows(evidence, diary);
  verdict.nothing_failed = all_done(evidence, ranks);
  if (!verdict.nothing_failed) verdict.first = find_culprit(evidence, ranks, verdict.matches);
  // Advice explains a log without an error in it (a slow run, an empty picture), but never a
  // failure.
  const bool failure =
      std::ranges::any_of(ranks, ended_badly) || earliest_error(evidence) != nullptr;
  const bool explained =
      !verdict.matches.empty() && (!failure || verdict.matches.front().row->role <= Role::kCascade);
  if (!explained || verdict.nothing_failed) verdict.notes.swap(verdict.matches);
  return verdict;
}

}  // namespace muster::launcher
