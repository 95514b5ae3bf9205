#include "launcher/triage/evidence.h"

#include <fmt/core.h>

#include <algorithm>
#include <charconv>
#include <ctime>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <tuple>

#include "base/error.h"
#include "base/files.h"
#include "base/flight_recorder.h"
#include "base/json.h"
#include "base/pattern.h"
#include "base/text.h"
#include "launcher/rank/beat_board.h"
#include "launcher/rank/rank_status.h"
#include "launcher/rank/side_file.h"
#include "launcher/triage/kernel_log.h"

namespace muster::launcher {
namespace {

constexpr std::size_t kMaxLine = 4096;
constexpr std::size_t kLastLines = 2000;
constexpr std::int64_t kMaxRank = 1 << 20;

// Reads "2026-11-21 01:02:03.456 ...", in local time, as base/log writes it. Anything else is
// kNoTime.
double time_stamp(std::string_view line) {
  std::tm tm{};
  int milliseconds = 0;
  constexpr std::size_t kStamp = 24;
  const std::string head(line.substr(0, kStamp));
  if (std::sscanf(head.c_str(), "%4d-%2d-%2d%*1[ T]%2d:%2d:%2d.%3d", &tm.tm_year, &tm.tm_mon,
                  &tm.tm_mday, &tm.tm_hour, &tm.tm_min, &tm.tm_sec, &milliseconds) < 6)
    return kNoTime;
  tm.tm_year -= 1900;
  tm.tm_mon -= 1;
  tm.tm_isdst = -1;
  return static_cast<double>(std::mktime(&tm)) + milliseconds / 1000.0;
}

// Finds "[rank 3/8 node17]", the tag in front of every rank's lines, wherever they were copied to,
// or PyTorch's "[rank3]:".
int tagged_rank(std::string_view line) {
  static const Pattern kTag(R"(\[rank ?(\d{1,6})(?:/\d+ [^\]]*)?\])", Pattern::Letters::kAsWritten);
  const auto tag = kTag.first_in(line);
  return tag ? std::stoi(tag->text(1)) : -1;
}

// Returns 12 for rank-12.log, rank-12.out, rank-12.status.
int rank_in_name(const fs::path& file) {
  const std::string name = file.filename().string();
  int rank = -1;
  if (name.starts_with("rank-")) std::from_chars(name.data() + 5, name.data() + name.size(), rank);
  return rank;
}

std::string scalar(const nlohmann::json& value) {
  return value.is_string() ? value.get<std::string>() : value.dump();
}

std::vector<fs::path> files_in(const fs::path& folder, std::string_view prefix,
                               std::string_view suffix) {
  std::vector<fs::path> files;
  if (!fs::is_directory(folder)) return files;
  for (const auto& entry : fs::directory_iterator(folder)) {
    const std::string name = entry.path().filename().string();
    if (entry.is_regular_file() && name.starts_with(prefix) && name.ends_with(suffix))
      files.push_back(entry.path());
  }
  std::ranges::sort(files);
  return files;
}

std::string join_samples(const FlightEvent& event) {
  std::vector<std::string> ids;
  for (const std::int64_t id : event.samples)
    if (id >= 0) ids.push_back(std::to_string(id));
  return join(ids, ",");
}

Record box_record(const std::string& name, const FlightLog& log) {
  const FlightEvent last = log.events.empty() ? FlightEvent{} : log.events.back();
  Record record{Source::kBox, log.rank, name, 0, kNoTime, "", {}};
  if (!log.events.empty()) record.time = static_cast<double>(last.time_ns) * 1e-9;
  record.fields = {{"rank", std::to_string(log.rank)},
                   {"host", log.host},
                   {"phase", std::string(phase_name(last.phase))},
                   {"step", std::to_string(last.step)},
                   {"micro_step", std::to_string(last.micro_step)},
                   {"collective", std::to_string(last.collective)},
                   {"bucket", std::to_string(last.bucket)},
                   {"bytes_in_use", std::to_string(last.bytes_in_use)},
                   {"samples", join_samples(last)},
                   {"lagging", "no"}};
  return record;
}

FlightLog log_of(const RankBeat& beat) {
  FlightLog log;
  log.rank = beat.rank;
  log.host = beat.host;
  log.events = {beat.last};
  return log;
}

// The culprit of a hang is the rank with the least progress, not the one that complains: exactly
// one rank lags.
void mark_lagging(std::vector<Record>& boxes) {
  const auto progress = [](const Record& r) {
    const auto number = [&](const char* key) { return std::stoll(r.fields.at(key)); };
    return std::tuple(number("step"), number("collective"), number("micro_step"), r.time);
  };
  const auto least = std::ranges::min_element(boxes, {}, progress);
  if (least != boxes.end()) least->fields["lagging"] = "yes";
  for (Record& box : boxes) {
    std::vector<std::string> parts;
    for (const auto& [key, value] : box.fields)
      if (!value.empty() && value != "-1") parts.push_back(fmt::format("{}={}", key, value));
    box.text = join(parts, " ");
  }
}

// Logs are appended to by every attempt; statuses are of the newest one and say when it began, on
// their own machine's clock, as the log beside them does. The launcher's log says it by itself.
void drop_earlier_attempts(std::vector<Record>& records) {
  static const Pattern kBegins(R"(\battempt \d+: \d+ ranks)", Pattern::Letters::kAsWritten);
  constexpr double kRankSlack = 5;        // the wrapper's status comes after its rank's first line
  constexpr double kLauncherSlack = 120;  // it looks at the machines before it starts the ranks
  std::map<int, double> begin;
  double launcher_begin = kNoTime;
  for (const Record& r : records) {
    const std::string start = r.field("start_unix");
    if (r.source == Source::kStatus && !start.empty()) begin[r.rank] = std::atof(start.c_str());
    if (r.source == Source::kLauncher && kBegins.found_in(r.text)) launcher_begin = r.time;
  }
  std::erase_if(records, [&](const Record& r) {
    if (r.source == Source::kLauncher)
      return launcher_begin != kNoTime && r.time < launcher_begin - kLauncherSlack;
    const auto time = begin.find(r.rank);
    return r.source == Source::kRank && time != begin.end() && r.time < time->second - kRankSlack;
  });
}

// What the launcher found out about the clocks of other machines, host -> seconds ahead.
std::map<std::string, double> clock_offsets(const fs::path& run_dir) {
  std::map<std::string, double> offsets;
  const nlohmann::json record = read_side_file(run_dir / "launch.json");
  const nlohmann::json& attempts = list(record, "attempts");
  if (attempts.empty() || !attempts.back().is_object()) return offsets;
  const auto found = attempts.back().find("clock_offsets");
  if (found == attempts.back().end() || !found->is_object()) return offsets;
  for (const auto& [host, seconds] : found->items())
    if (seconds.is_number()) offsets[host] = seconds.get<double>();
  return offsets;
}

// Puts the times of all ranks on the launcher's clock: the earliest is looked for.
void correct_clocks(std::vector<Record>& records, const std::map<std::string, double>& offsets) {
  std::map<int, double> ahead;
  for (const Record& r : records) {
    const auto host = offsets.find(r.field("host"));
    if (r.source == Source::kStatus && host != offsets.end()) ahead[r.rank] = host->second;
  }
  for (Record& r : records) {
    const auto rank = ahead.find(r.rank);
    if (rank == ahead.end() || !of_one_rank(r.source)) continue;
    if (r.time != kNoTime) r.time -= rank->second;
    for (const char* key : {"start_unix", "end_unix", "error_unix"}) {
      const double time = std::atof(r.field(key).c_str());
      if (time > 0) r.fields[key] = fmt::format("{}", time - rank->second);
    }
  }
}

class Gatherer {
 public:
  explicit Gatherer(const fs::path& run_dir)
      : run_dir_(run_dir), known_(read_known_beats(run_dir)) {}

  Evidence gather() {
    add_logs();
    add_statuses();
    add_boxes();
    add_damage();
    for (Record& line : read_kernel_log(evidence_.records))
      evidence_.records.push_back(std::move(line));
    drop_earlier_attempts(evidence_.records);
    correct_clocks(evidence_.records, clock_offsets(run_dir_));
    evidence_.whole_run = true;
    return std::move(evidence_);
  }

 private:
  void add_logs() {
    const fs::path logs = run_dir_ / "logs";
    if (fs::exists(run_dir_ / "config.yaml")) add_log(Source::kConfig, run_dir_ / "config.yaml");
    for (const char* suffix : {".log", ".out"})
      for (const fs::path& file : files_in(logs, "rank-", suffix)) add_log(Source::kRank, file);
    for (const char* name : {"launcher.log", "mpirun.out"})
      if (fs::exists(logs / name)) add_log(Source::kLauncher, logs / name);
    for (const fs::path& folder : {run_dir_, logs})
      for (const fs::path& file : files_in(folder, "slurm-", ".out")) add_log(Source::kSlurm, file);
    for (const fs::path& file : files_in(logs, "kernel", ".log")) add_log(Source::kKernel, file);
  }

  std::string name_of(const fs::path& file) const {
    return file.lexically_relative(run_dir_).string();
  }

  void add_log(Source source, const fs::path& file) {
    for (Record& line : read_lines(source, rank_in_name(file), name_of(file), read_text(file)))
      evidence_.records.push_back(std::move(line));
  }

  // A rank whose files never came into the run folder (its host is lost, its wrapper was killed) is
  // known by its last beat.
  void add_statuses() {
    if (known_) {
      for (const RankEvidence& rank : known_->evidence)
        if (!fs::exists(status_file(run_dir_, rank.status.rank)))
          evidence_.records.push_back(
              status_record("black_box/beats",
                            rank_status_as_json(rank.status)
                                .dump(-1, ' ', false, nlohmann::json::error_handler_t::replace)));
    }
    for (const fs::path& file : files_in(run_dir_ / "black_box", "rank-", ".status")) {
      try {
        evidence_.records.push_back(status_record(name_of(file), read_text(file)));
      } catch (const Error& error) {
        damaged_.emplace_back(error.what());
      }
    }
  }

  // What a file of the run folder would have said is lost; the rest is used (law 16).
  void add_damage() {
    if (damaged_.empty()) return;
    evidence_.records.push_back(
        {Source::kLauncher,
         -1,
         "black_box",
         0,
         kNoTime,
         fmt::format("damaged and left out (R-029): {}", join(damaged_, "; ")),
         {}});
  }

  void add_boxes() {
    std::vector<Record> boxes;
    for (const fs::path& file : files_in(run_dir_ / "black_box", "rank-", ".bin")) {
      if (const auto log = read_flight_log(file))
        boxes.push_back(box_record(name_of(file), *log));
      else
        damaged_.push_back(name_of(file) + ": not a black box of this version");
    }
    if (known_) {
      for (const RankBeat& beat : known_->beats)
        if (!fs::exists(flight_file(run_dir_, beat.rank)))
          boxes.push_back(box_record("black_box/beats", log_of(beat)));
    }
    mark_lagging(boxes);
    for (Record& box : boxes) evidence_.records.push_back(std::move(box));
  }

  fs::path run_dir_;
  std::optional<KnownBeats> known_;
  Evidence evidence_;
  std::vector<std::string> damaged_;  // which file, and what it is not
};

}  // namespace

bool looks_like_error(std::string_view line) {
  static const Pattern kError(
      R"(^\d{4}-\d\d-\d\d[ T][\d:.]+ E\b|\berror\b|\bfatal\b|\bfailed\b|\bexception\b|\babort|\bterminate called|\bkilled\b|\bsegmentation fault|\bout of memory\b|\bcannot\b|\bwatchdog\b|^muster: )");
  return kError.found_in(line);
}

std::vector<Record> read_lines(Source source, int rank, const std::string& name,
                               std::string_view text) {
  std::vector<Record> records;
  const auto total = static_cast<std::size_t>(std::ranges::count(text, '\n')) + 1;
  double time = kNoTime;
  for (std::int64_t number = 1; !text.empty(); ++number) {
    const std::size_t end = std::min(text.find('\n'), text.size());
    const std::string_view line = text.substr(0, std::min(end, kMaxLine));
    text.remove_prefix(std::min(end + 1, text.size()));
    if (const double stamp = time_stamp(line); stamp != kNoTime) time = stamp;
    const bool late = static_cast<std::size_t>(number) + kLastLines >= total;
    if (line.empty() || (!late && !looks_like_error(line))) continue;
    const int speaker = rank >= 0 ? rank : tagged_rank(line);
    records.push_back({source, speaker, name, number, time, std::string(line), {}});
  }
  return records;
}

Record status_record(const std::string& name, std::string_view text) {
  const nlohmann::json status = parse_json_or_null(text);
  const auto damaged = [&] {
    return DataError(fmt::format("{}: not the status of a rank: '{}'", name, text.substr(0, 80)));
  };
  if (!status.is_object()) throw damaged();
  const auto rank = status.find("rank");
  if (rank == status.end() || !rank->is_number_integer()) throw damaged();
  const auto number = rank->get<std::int64_t>();
  if (number < 0 || number > kMaxRank) throw damaged();
  Record record{Source::kStatus, static_cast<int>(number), name, 0, kNoTime, "", {}};
  std::vector<std::string> parts;
  for (const auto& [key, value] : status.items())
    if (!value.is_null()) {
      record.fields[key] = scalar(value);
      parts.push_back(key + "=" + scalar(value));
    }
  const double end = std::atof(record.field("end_unix").c_str());
  const bool ended = end > 0;
  if (ended) record.time = end;
  record.fields["ended"] = ended ? "yes" : "no";
  record.text = join(parts, " ").substr(0, kMaxLine);
  return record;
}

Evidence gather(const fs::path& path) {
  if (fs::is_directory(path)) return Gatherer(path).gather();
  if (!fs::is_regular_file(path))
    throw UsageError(fmt::format("{}: neither a run folder nor a log file", path.string()));
  const std::string name = path.filename().string();
  if (path.extension() == ".status") return {false, {status_record(name, read_text(path))}};
  return {false, read_lines(Source::kText, rank_in_name(path), name, read_text(path))};
}

}  // namespace muster::launcher
