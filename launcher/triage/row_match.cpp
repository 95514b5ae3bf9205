#include "launcher/triage/row_match.h"

#include <algorithm>
#include <optional>
#include <set>
#include <tuple>

namespace muster::launcher {
namespace {

// Says whether `record` may speak for `rank`: it is its own, or belongs to no rank.
bool concerns(const Record& record, int rank) {
  return record.rank == rank || record.rank < 0 || !of_one_rank(record.source);
}

std::ptrdiff_t vagueness(const RowMatch& match) {
  return -static_cast<std::ptrdiff_t>(match.specific);
}

class RowMatcher {
 public:
  RowMatcher(const DiaryRow& row, const Evidence& evidence) : row_(row) {
    std::set<int> ranks = {-1};
    for (const Clause& clause : row.clauses) {
      std::vector<const Record*>& found = holding_.emplace_back();
      for (const Record& record : evidence.records) {
        if (!clause.holds_for(record)) continue;
        found.push_back(&record);
        ranks.insert(record.rank);
      }
      std::ranges::stable_sort(found, {}, [](const Record* r) { return order_of(*r); });
    }
    for (const int rank : ranks) consider(rank);
  }

  const std::optional<RowMatch>& best() const { return best_; }

 private:
  // All clauses must hold for one and the same rank. The earliest such rank speaks for the row.
  void consider(int rank) {
    const std::optional<RowMatch> match = match_for(rank);
    if (!match) return;
    const auto rank_speaks = [&](const Record* r) { return r->rank == rank; };
    if (rank >= 0 && std::ranges::none_of(match->evidence, rank_speaks)) return;
    const auto key = [](const RowMatch& m) {
      return std::tuple(m.order, vagueness(m), m.rank < 0, m.rank);
    };
    if (!best_ || key(*match) < key(*best_)) best_ = match;
  }

  std::optional<RowMatch> match_for(int rank) const {
    RowMatch match{.row = &row_, .rank = rank, .evidence = {}, .order = kNoTime};
    for (std::size_t i = 0; i < row_.clauses.size(); ++i) {
      const Clause& clause = row_.clauses[i];
      const auto found =
          std::ranges::find_if(holding_[i], [&](const Record* r) { return concerns(*r, rank); });
      const bool holds = found != holding_[i].end();
      if (!clause.optional && holds == clause.negated) return std::nullopt;
      if (holds) match.evidence.push_back(*found);
      if (holds && !clause.optional) match.order = std::min(match.order, order_of(**found));
      if (holds != clause.negated) match.specific += clause.text.size();
    }
    return match;
  }

  const DiaryRow& row_;
  std::vector<std::vector<const Record*>> holding_;  // per clause, earliest first
  std::optional<RowMatch> best_;
};

}  // namespace

std::vector<RowMatch> match_rows(const Evidence& evidence, const Diary& diary) {
  std::vector<RowMatch> matches;
  for (const DiaryRow& row : diary.rows)
    if (const auto match = RowMatcher(row, evidence).best()) matches.push_back(*match);
  std::ranges::stable_sort(matches, {}, [](const RowMatch& m) {
    return std::tuple(m.row->role, m.order, vagueness(m));
  });
  return matches;
}

}  // namespace muster::launcher
