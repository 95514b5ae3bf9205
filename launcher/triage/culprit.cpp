#include "launcher/triage/culprit.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdlib>
#include <set>

#include "base/pattern.h"
#include "base/text.h"

namespace muster::launcher {
namespace {

std::int64_t number(const Record& record, const std::string& key, std::int64_t otherwise) {
  const std::string value = record.field(key);
  return value.empty() ? otherwise : std::atoll(value.c_str());
}

double seconds(const Record& record, const std::string& key) {
  return std::atof(record.field(key).c_str());
}

// Returns the status as it was before it became a record. One that says how it ended but not when
// did end, at a time nobody knows.
RankStatus status_of(const Record& record) {
  RankStatus status;
  status.rank = record.rank;
  status.host = record.field("host");
  status.start_unix = seconds(record, "start_unix");
  status.exit_code = static_cast<int>(number(record, "exit_code", -1));
  status.signal = static_cast<int>(number(record, "signal", 0));
  const bool ended = record.time != kNoTime || status.exit_code >= 0 || status.signal > 0;
  status.end_unix = ended ? record.time : 0;
  status.error = record.field("error");
  status.error_unix = seconds(record, "error_unix");
  status.consequence = record.field("consequence") == "true";
  status.torn_down = record.field("torn_down") == "true";
  return status;
}

std::optional<Phase> phase_of(const std::string& name) {
  for (int phase = 0; phase <= static_cast<int>(Phase::kDone); ++phase)
    if (name == phase_name(static_cast<Phase>(phase))) return static_cast<Phase>(phase);
  return std::nullopt;
}

std::optional<FlightEvent> event_of(const Record& box) {
  const auto phase = phase_of(box.field("phase"));
  if (!phase) return std::nullopt;
  FlightEvent event;
  event.phase = *phase;
  event.step = number(box, "step", -1);
  event.collective = number(box, "collective", -1);
  return event;
}

const Record* record_of(const Evidence& evidence, Source source, std::int64_t rank) {
  const auto found = std::ranges::find_if(evidence.records, [&](const Record& record) {
    return record.source == source && record.rank == rank;
  });
  return found == evidence.records.end() ? nullptr : &*found;
}

// Returns the ranks whose own records speak for a cascade row and for no root.
std::set<int> cascades(std::span<const RankEvidence> ranks, std::span<const RowMatch> matches) {
  const auto speaks_for = [&](int rank, Role role) {
    return std::ranges::any_of(matches, [&](const RowMatch& match) {
      return match.row->role == role &&
             std::ranges::any_of(match.evidence, [&](const Record* r) { return r->rank == rank; });
    });
  };
  std::set<int> found;
  for (const RankEvidence& rank : ranks) {
    const int number = rank.status.rank;
    if (speaks_for(number, Role::kCascade) && !speaks_for(number, Role::kRoot))
      found.insert(number);
  }
  return found;
}

// The culprit of a hang is known by its black box alone: all statuses are the launcher's doing.
std::optional<std::int64_t> lagging_rank(std::span<const RowMatch> matches) {
  if (matches.empty() || matches.front().row->role != Role::kRoot) return std::nullopt;
  for (const Record* r : matches.front().evidence)
    if (r->source == Source::kBox && r->field("lagging") == "yes") return r->rank;
  return std::nullopt;
}

// What mpirun says about the end of its job is about no rank in particular.
bool by_starter(const Record& record) {
  return record.source == Source::kLauncher && record.rank < 0 &&
         record.file.ends_with("mpirun.out");
}

const Record* earliest_error_if(const Evidence& evidence, bool starter_counts) {
  const Record* first = nullptr;
  for (const Record& r : evidence.records) {
    const bool line = of_one_rank(r.source) || r.source == Source::kLauncher ||
                      r.source == Source::kText || r.source == Source::kSlurm;
    if (!line || !r.fields.empty() || !looks_like_error(r.text)) continue;
    if (!starter_counts && by_starter(r)) continue;
    if (first == nullptr || order_of(r) < order_of(*first)) first = &r;
  }
  return first;
}

// "" and -1 stand for unknown; what is known already stays.
void fill(std::optional<std::string>& to, const std::string& value) {
  if (!to && !value.empty() && value != "-1") to = value;
}

void fill(std::optional<std::int64_t>& to, const std::string& value) {
  if (!to && !value.empty() && value != "-1") to = std::atoll(value.c_str());
}

void fill_from_status(Culprit& culprit, const Record& record, const RankEvidence& rank) {
  fill(culprit.host, record.field("host"));
  fill(culprit.signal, record.field("signal"));
  fill(culprit.exit_code, record.field("exit_code"));
  fill(culprit.error, record.field("error"));
  constexpr double kMilli = 1000;
  if (const double time = failure_time(rank.status); ended_badly(rank) && time != kNoTime)
    culprit.time_unix = std::round(time * kMilli) / kMilli;
}

void fill_from_box(Culprit& culprit, const Record& box) {
  fill(culprit.host, box.field("host"));
  fill(culprit.phase, box.field("phase"));
  fill(culprit.step, box.field("step"));
  fill(culprit.micro_step, box.field("micro_step"));
  fill(culprit.collective, box.field("collective"));
  fill(culprit.bucket, box.field("bucket"));
  for (const std::string& id : split(box.field("samples"), ','))
    if (!id.empty()) culprit.samples.push_back(std::atoll(id.c_str()));
}

// Takes what the launcher's sentences and the tags of rank lines say: logs may come without a run
// folder.
void fill_from_text(Culprit& culprit, const std::string& text) {
  constexpr auto kAsWritten = Pattern::Letters::kAsWritten;
  static const Pattern kRank(R"(\brank (\d+))", kAsWritten);
  static const Pattern kTaggedHost(R"(\[rank \d+/\d+ ([^\]\s]+)\])", kAsWritten);
  static const Pattern kHost(R"(\brank \d+ on (\S+) (?:was|left))", kAsWritten);
  static const Pattern kPhase(R"(\bphase (\w+))", kAsWritten);
  static const Pattern kStep(R"(\bstep (\d+))", kAsWritten);
  static const Pattern kCollective(R"(\bcollective (\d+))", kAsWritten);
  static const Pattern kSignal(R"(\bkilled by signal (\d+))", kAsWritten);
  const auto found = [&](const Pattern& pattern) {
    const auto match = pattern.first_in(text);
    return match ? match->text(1) : "";
  };
  fill(culprit.rank, found(kRank));
  fill(culprit.host, found(kTaggedHost));
  fill(culprit.host, found(kHost));
  fill(culprit.phase, found(kPhase));
  fill(culprit.step, found(kStep));
  fill(culprit.collective, found(kCollective));
  fill(culprit.signal, found(kSignal));
}

std::optional<std::int64_t> rank_to_name(const Evidence& evidence,
                                         std::span<const RankEvidence> ranks,
                                         std::span<const RowMatch> matches) {
  if (const auto lagging = lagging_rank(matches)) return lagging;
  if (const auto failure = first_failure(ranks, cascades(ranks, matches)))
    return failure->rank.status.rank;
  if (!matches.empty() && matches.front().rank >= 0) return matches.front().rank;
  if (const Record* error = earliest_error(evidence); error != nullptr && error->rank >= 0)
    return error->rank;
  return std::nullopt;
}

}  // namespace

std::vector<RankEvidence> ranks_of(const Evidence& evidence) {
  std::vector<RankEvidence> ranks;
  for (const Record& record : evidence.records) {
    if (record.source != Source::kStatus) continue;
    RankEvidence rank{status_of(record), std::nullopt};
    // Older than the status: the black box of an earlier process.
    const Record* box = record_of(evidence, Source::kBox, record.rank);
    if (box != nullptr && box->time >= rank.status.start_unix) rank.last = event_of(*box);
    ranks.push_back(std::move(rank));
  }
  return ranks;
}

const Record* earliest_error(const Evidence& evidence) { return earliest_error_if(evidence, true); }

Culprit find_culprit(const Evidence& evidence, std::span<const RankEvidence> ranks,
                     std::span<const RowMatch> matches) {
  Culprit culprit;
  culprit.rank = rank_to_name(evidence, ranks, matches);
  const std::int64_t rank = culprit.rank.value_or(-1);
  const auto known = std::ranges::find(
      ranks, rank, [](const RankEvidence& r) -> std::int64_t { return r.status.rank; });
  const Record* status = record_of(evidence, Source::kStatus, rank);
  const Record* box = record_of(evidence, Source::kBox, rank);
  if (culprit.rank && status != nullptr && known != ranks.end())
    fill_from_status(culprit, *status, *known);
  if (culprit.rank && box != nullptr) fill_from_box(culprit, *box);
  // Without a black box the last step that the wrapper saw has to do.
  if (culprit.rank && status != nullptr) fill(culprit.step, status->field("last_step"));

  const bool statuses_say_it = std::ranges::any_of(ranks, ended_badly);
  if (!statuses_say_it && !matches.empty())
    for (const Record* r : matches.front().evidence) fill_from_text(culprit, r->text);
  const Record* error = earliest_error_if(evidence, !culprit.rank.has_value());
  if (error == nullptr || (error->rank != rank && error->rank >= 0)) return culprit;
  if (!statuses_say_it) fill_from_text(culprit, error->text);
  fill(culprit.error, error->text);
  return culprit;
}

}  // namespace muster::launcher
