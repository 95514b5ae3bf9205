#include "launcher/triage/triage.h"

#include <fmt/core.h>

#include <algorithm>
#include <array>
#include <set>
#include <tuple>

#include "base/pattern.h"
#include "base/text.h"

namespace muster::launcher {
namespace {

// Records without a time come after all others, in the order they were written.
double order_of(const Record& record) {
  constexpr double kAfterAll = 1e15;
  return record.time != kNoTime ? record.time : kAfterAll + static_cast<double>(record.line);
}

bool of_one_rank(Source source) {
  return source == Source::kRank || source == Source::kStatus || source == Source::kBox;
}

// Whether `record` may speak for `rank`: its own, or one that belongs to no rank.
bool concerns(const Record& record, int rank) {
  return record.rank == rank || record.rank < 0 || !of_one_rank(record.source);
}

class RowMatcher {
 public:
  RowMatcher(const DiaryRow& row, const Evidence& evidence) : row_(row) {
    std::set<int> ranks = {-1};
    for (const Clause& clause : row.clauses) {
      std::vector<const Record*>& found = holding_.emplace_back();
      for (const Record& record : evidence.records)
        if (clause.holds_for(record)) found.push_back(&record), ranks.insert(record.rank);
      std::ranges::stable_sort(found, {}, [](const Record* r) { return order_of(*r); });
    }
    for (const int rank : ranks) consider(rank);
  }

  const std::optional<RowMatch>& best() const { return best_; }

 private:
  // All clauses must hold for one and the same rank. The earliest such rank speaks for the row.
  void consider(int rank) {
    RowMatch match{&row_, rank, {}, 0, 0};
    double order = kNoTime;
    for (std::size_t i = 0; i < row_.clauses.size(); ++i) {
      const Clause& clause = row_.clauses[i];
      const auto found =
          std::ranges::find_if(holding_[i], [&](const Record* r) { return concerns(*r, rank); });
      const bool holds = found != holding_[i].end();
      if (!clause.optional && holds == clause.negated) return;
      if (holds) match.evidence.push_back(*found);
      if (holds && !clause.optional) order = std::min(order, order_of(**found));
      if (holds != clause.negated) match.specific += clause.text.size();
    }
    match.order = order;
    const auto rank_speaks = [&](const Record* r) { return r->rank == rank; };
    if (rank >= 0 && std::ranges::none_of(match.evidence, rank_speaks)) return;
    const auto key = [](const RowMatch& m) {
      return std::tuple(m.order, -static_cast<std::ptrdiff_t>(m.specific), m.rank < 0, m.rank);
    };
    if (!best_ || key(match) < key(*best_)) best_ = match;
  }

  const DiaryRow& row_;
  std::vector<std::vector<const Record*>> holding_;  // per clause, earliest first
  std::optional<RowMatch> best_;
};

std::string field(const Record& record, const std::string& key) {
  const auto found = record.fields.find(key);
  return found == record.fields.end() ? "" : found->second;
}

bool failed(const Record& status) {
  const std::string code = field(status, "exit_code"), signal = field(status, "signal");
  return (!signal.empty() && signal != "0") ||
         (code != "" && code != "0" && code != "75" && code != "-1");
}

// A rank's own words come before its end: tearing down takes time.
double failure_time(const Record& status) {
  const double said = std::atof(field(status, "error_unix").c_str());
  return said > 0 ? said : order_of(status);
}

// Ended by others, or only reporting that a peer is gone.
bool is_reaction(const Record& status, const std::vector<RowMatch>& matches) {
  if (field(status, "torn_down") == "true" || field(status, "consequence") == "true" ||
      field(status, "signal") == "15")
    return true;
  bool cascade = false, root = false;
  for (const RowMatch& match : matches) {
    const bool speaks = std::ranges::any_of(
        match.evidence, [&](const Record* r) { return r->rank == status.rank; });
    cascade = cascade || (speaks && match.row->role == Role::kCascade);
    root = root || (speaks && match.row->role == Role::kRoot);
  }
  return cascade && !root;
}

const Record* first_failed_status(const Evidence& evidence, const std::vector<RowMatch>& matches) {
  const Record* first = nullptr;
  const auto key = [&](const Record& r) {
    return std::tuple(is_reaction(r, matches), failure_time(r), r.rank);
  };
  for (const Record& r : evidence.records)
    if (r.source == Source::kStatus && failed(r) && (first == nullptr || key(r) < key(*first)))
      first = &r;
  return first;
}

const Record* earliest_error(const Evidence& evidence) {
  const Record* first = nullptr;
  for (const Record& r : evidence.records)
    if (of_one_rank(r.source) || r.source == Source::kLauncher || r.source == Source::kText ||
        r.source == Source::kSlurm)
      if (r.fields.empty() && looks_like_error(r.text) &&
          (first == nullptr || order_of(r) < order_of(*first)))
        first = &r;
  return first;
}

void fill(FirstFailed& first, const std::string& key, const std::string& value) {
  if (!value.empty() && value != "-1") first.emplace(key, value);
}

// What the launcher's sentences and the tags of rank lines say, for logs that come without a run
// folder.
void fill_from_text(FirstFailed& first, const std::string& text) {
  const auto as_written = [](const char* expression) {
    return Pattern(expression, Pattern::Letters::kAsWritten);
  };
  static const std::array<std::pair<const char*, Pattern>, 7> kPatterns = {{
      {"rank", as_written(R"(\brank (\d+))")},
      {"host", as_written(R"(\[rank \d+/\d+ ([^\]\s]+)\])")},
      {"host", as_written(R"(\brank \d+ on (\S+) (?:was|left))")},
      {"phase", as_written(R"(\bphase (\w+))")},
      {"step", as_written(R"(\bstep (\d+))")},
      {"collective", as_written(R"(\bcollective (\d+))")},
      {"signal", as_written(R"(\bkilled by signal (\d+))")},
  }};
  for (const auto& [key, pattern] : kPatterns)
    if (const auto found = pattern.first_in(text)) first.emplace(key, found->text(1));
}

// The culprit of a hang is known by its black box alone: all statuses are the launcher's doing.
const Record* lagging_box(const std::vector<RowMatch>& matches) {
  if (matches.empty() || matches.front().row->role != Role::kRoot) return nullptr;
  for (const Record* r : matches.front().evidence)
    if (r->source == Source::kBox && field(*r, "lagging") == "yes") return r;
  return nullptr;
}

FirstFailed find_first(const Evidence& evidence, const std::vector<RowMatch>& matches) {
  FirstFailed first;
  const Record* status = first_failed_status(evidence, matches);
  const Record* box = lagging_box(matches);
  int rank = box != nullptr ? box->rank : status != nullptr ? status->rank : -1;
  if (rank < 0 && !matches.empty()) rank = matches.front().rank;
  const Record* error = earliest_error(evidence);
  if (rank < 0 && error != nullptr) rank = error->rank;
  if (rank >= 0) first["rank"] = std::to_string(rank);
  for (const Record& r : evidence.records) {
    if (rank < 0 || r.rank != rank) continue;
    if (r.source == Source::kStatus)
      for (const char* key : {"host", "signal", "exit_code", "error"})
        fill(first, key, field(r, key));
    if (r.source == Source::kStatus && failed(r))
      fill(first, "time_unix", fmt::format("{:.3f}", failure_time(r)));
    if (r.source == Source::kBox)
      for (const char* key :
           {"host", "phase", "step", "micro_step", "collective", "bucket", "samples"})
        fill(first, key, field(r, key));
  }
  for (const Record& r : evidence.records)  // without a black box: the last step the wrapper saw
    if (r.source == Source::kStatus && rank >= 0 && r.rank == rank)
      fill(first, "step", field(r, "last_step"));
  if (status == nullptr && !matches.empty())
    for (const Record* r : matches.front().evidence) fill_from_text(first, r->text);
  if (error != nullptr && (error->rank == rank || error->rank < 0)) {
    if (status == nullptr) fill_from_text(first, error->text);
    fill(first, "error", error->text);
  }
  return first;
}

bool all_done(const Evidence& evidence) {
  bool any = false;
  for (const Record& r : evidence.records) {
    if (r.source != Source::kStatus) continue;
    any = true;
    if (field(r, "exit_code") != "0" || failed(r)) return false;
  }
  return any && evidence.whole_run;
}

}  // namespace

Verdict triage(const Evidence& evidence, const Diary& diary) {
  Verdict verdict;
  for (const DiaryRow& row : diary.rows)
    if (const auto match = RowMatcher(row, evidence).best()) verdict.matches.push_back(*match);
  std::ranges::stable_sort(verdict.matches, {}, [](const RowMatch& m) {
    return std::tuple(m.row->role, m.order, -static_cast<std::ptrdiff_t>(m.specific));
  });
  verdict.nothing_failed = all_done(evidence);
  if (!verdict.nothing_failed) verdict.first = find_first(evidence, verdict.matches);
  // Advice explains a log without an error in it (a slow run, an empty picture), but never a
  // failure.
  const bool failure = first_failed_status(evidence, verdict.matches) != nullptr ||
                       earliest_error(evidence) != nullptr;
  const bool explained =
      !verdict.matches.empty() && (!failure || verdict.matches.front().row->role <= Role::kCascade);
  if (!explained || verdict.nothing_failed) verdict.notes.swap(verdict.matches);
  return verdict;
}

}  // namespace muster::launcher
