#include "launcher/triage/triage.h"

#include <algorithm>

namespace muster::launcher {
namespace {

// A log alone does not say that its run was whole; it can only be without any sign of a failure.
bool no_sign_of_failure(const Evidence& evidence, std::span<const RowMatch> matches) {
  const auto explains = [](const RowMatch& match) { return match.row->role <= Role::kCascade; };
  const auto is_text = [](const Record& r) { return r.source == Source::kText; };
  return !evidence.whole_run && std::ranges::all_of(evidence.records, is_text) &&
         earliest_error(evidence) == nullptr && std::ranges::none_of(matches, explains);
}

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
  const bool done = all_done(evidence, ranks);
  verdict.nothing_failed = done || no_sign_of_failure(evidence, verdict.matches);
  if (!verdict.nothing_failed) verdict.first = find_culprit(evidence, ranks, verdict.matches);
  // Advice explains a log without an error in it (a slow run, an empty picture), but never a
  // failure.
  const bool failure =
      std::ranges::any_of(ranks, ended_badly) || earliest_error(evidence) != nullptr;
  const bool explained =
      !verdict.matches.empty() && (!failure || verdict.matches.front().row->role <= Role::kCascade);
  if (!explained || done) verdict.notes.swap(verdict.matches);
  return verdict;
}

}  // namespace muster::launcher
