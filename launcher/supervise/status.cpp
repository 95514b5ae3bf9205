#include "launcher/supervise/status.h"

#include <fmt/core.h>
#include <signal.h>

#include <algorithm>
#include <cerrno>
#include <fstream>
#include <limits>
#include <nlohmann/json.hpp>
#include <set>

#include "base/clock.h"
#include "base/error.h"
#include "base/files.h"
#include "base/text.h"
#include "base/utf8.h"
#include "configs/config.h"
#include "launcher/rank/beat_board.h"
#include "launcher/rank/heartbeat.h"
#include "launcher/rank/rank_status.h"
#include "launcher/rank/run_folder.h"
#include "launcher/rank/side_file.h"

namespace muster::launcher {
namespace {

using nlohmann::json;

constexpr std::int64_t kMostRanks = 1 << 16;
constexpr std::size_t kStepsForEta = 20;
constexpr std::streamoff kTail = 256 * 1024;  // some hundred lines of metrics

// Damaged is not absent: the file is named, and the rest of the folder still tells a lot.
json launch_record(const fs::path& run_dir, RunStatus& status) {
  const fs::path file = run_dir / "launch.json";
  json record = read_side_file(file);
  if (record.is_null() && fs::exists(file)) status.damaged.push_back("launch.json");
  return record;
}

std::int64_t step_of(const json& row) {
  return whole_number(row, "step", -1, 0, std::numeric_limits<std::int64_t>::max());
}

// Returns the newest optimizer steps, oldest first. A line that is being written, or the cut one at
// the start, does not parse.
std::vector<json> newest_steps(const fs::path& run_dir) {
  std::ifstream in(run_dir / "metrics.jsonl", std::ios::ate);
  if (!in) return {};
  in.seekg(std::max<std::streamoff>(0, static_cast<std::streamoff>(in.tellg()) - kTail));
  std::vector<json> rows;
  for (std::string line; std::getline(in, line);) {
    json row = parse_side_file(line);
    if (step_of(row) >= 0 && row.contains("loss")) rows.push_back(std::move(row));
  }
  if (rows.size() > kStepsForEta) rows.erase(rows.begin(), rows.end() - kStepsForEta);
  return rows;
}

std::int64_t max_steps_of(const fs::path& run_dir) {
  if (!fs::exists(run_dir / "config.yaml")) return 0;
  try {
    const auto steps = configs::load(run_dir / "config.yaml").schedule.max_steps;
    if (steps) return *steps;
  } catch (const ConfigError&) {
    return 0;  // of another version: the rest of the status is still worth having
  }
  // Said in epochs: what the trainer found them to be.
  return whole_number(read_side_file(run_dir / "length.json"), "steps", 0, 0,
                      std::numeric_limits<std::int64_t>::max());
}

void add_progress(RunStatus& status) {
  const std::vector<json> rows = newest_steps(status.run_dir);
  status.max_steps = max_steps_of(status.run_dir);
  if (rows.empty()) return;
  status.step = step_of(rows.back());
  if (rows.back()["loss"].is_number()) status.loss = rows.back()["loss"];
  double seconds = 0;
  for (const json& row : rows) seconds += finite_number(row, "seconds", 0);
  if (status.max_steps > status.step && seconds > 0)
    status.eta_s = seconds / static_cast<double>(rows.size()) *
                   static_cast<double>(status.max_steps - status.step);
}

std::string end_of(const RankEvidence& rank) {
  const RankStatus& s = rank.status;
  if (!s.ended()) return "";
  if (left_early(rank)) return "code 0 before the end";
  const std::string end =
      s.signal != 0 ? fmt::format("signal {}", s.signal) : fmt::format("code {}", s.exit_code);
  return s.torn_down ? fmt::format("torn down ({})", end) : end;
}

RankNow now_of(const RankBeat& beat) {
  RankNow now;
  now.rank = beat.rank;
  now.phase = "not there";
  if (!beat.present) return now;
  now.host = beat.host;
  now.phase = std::string(phase_name(beat.last.phase));
  now.step = beat.last.step;
  now.collective = beat.last.collective;
  now.silent_s = beat.silent_s >= 0
                     ? beat.silent_s
                     : std::max(0.0, unix_now() - static_cast<double>(beat.last.time_ns) * 1e-9);
  return now;
}

void add_ranks(RunStatus& status) {
  for (const RankBeat& beat : read_beats(status.run_dir, status.ranks))
    status.ranks_now.push_back(now_of(beat));
  std::vector<RankEvidence> told;
  const auto known = read_known_beats(status.run_dir);
  if (known && known->attempt == status.attempt) told = known->evidence;
  std::erase_if(told, [&](const RankEvidence& r) { return r.status.rank >= status.ranks; });
  const auto ranks = merge_evidence(
      std::move(told), read_rank_evidence(status.run_dir, status.ranks, status.attempt));
  std::set<int> whole;
  for (const RankEvidence& rank : ranks) {
    whole.insert(rank.status.rank);
    RankNow& now = status.ranks_now.at(static_cast<std::size_t>(rank.status.rank));
    now.host = rank.status.host;
    now.end = end_of(rank);
  }
  for (int rank = 0; rank < status.ranks; ++rank) {
    const fs::path file = status_file(status.run_dir, rank);
    if (!whole.contains(rank) && fs::exists(file) && !read_rank_status(status.run_dir, rank))
      status.damaged.push_back(file.filename().string());
  }
  status.first_failure = first_failure(ranks);
}

int count_ranks(const fs::path& run_dir) {
  int ranks = 0;
  while (fs::exists(flight_file(run_dir, ranks))) ++ranks;
  return ranks;
}

void add_attempts(RunStatus& status, const json& record) {
  constexpr std::int64_t kInt = std::numeric_limits<int>::max();
  const json& attempts = list(record, "attempts");
  status.ranks = static_cast<int>(whole_number(record, "ranks", 0, 0, kMostRanks));
  status.attempt = static_cast<int>(whole_number(record, "attempt", 0, 0, kInt));
  status.restarts = status.attempt;
  for (const json& change : list(record, "changes"))
    status.changes.push_back(short_text(change, "what"));
  if (!attempts.empty()) status.what = short_text(attempts.back(), "what");
  if (attempts.size() > static_cast<std::size_t>(status.attempt)) {
    status.state = short_text(attempts.back(), "ending");
    status.exit_code = static_cast<int>(whole_number(record, "exit_code", 0, 0, 255));
    return;
  }
  const bool here = short_text(record, "host") == own_host();
  const auto pid = static_cast<pid_t>(whole_number(record, "pid", 0, 1, kInt));
  const bool gone = here && (pid == 0 || (::kill(pid, 0) != 0 && errno == ESRCH));
  status.state = gone ? "lost" : "running";
}

json rank_as_json(const RankNow& rank) {
  return {{"rank", rank.rank},
          {"host", rank.host},
          {"phase", rank.phase},
          {"step", rank.step},
          {"collective", rank.collective},
          {"silent_s", rank.silent_s},
          {"end", rank.end}};
}

json failure_as_json(const FirstFailure& failure) {
  return {{"rank", failure.rank.status.rank}, {"what", failure.what}};
}

json job_as_json(const SlurmJob& job) {
  return {{"id", job.id}, {"state", job.state}, {"reason", job.reason}, {"restarts", job.restarts}};
}

}  // namespace

RunStatus read_status(const fs::path& run_dir) {
  RunStatus status;
  status.run_dir = run_dir;
  const json record = launch_record(run_dir, status);
  if (record.is_object()) {
    add_attempts(status, record);
  } else {
    status.ranks = count_ranks(run_dir);  // plain mpirun, or nothing yet
    status.state = status.ranks > 0 ? "running or ended without a launcher" : "not started";
  }
  if (!record.is_object() && status.ranks == 0 && !fs::exists(run_dir / "metrics.jsonl") &&
      !fs::exists(run_dir / "logs"))
    throw UsageError(fmt::format("{} is no run folder: no launch.json, no metrics.jsonl, no logs",
                                 run_dir.string()));
  add_progress(status);
  add_ranks(status);
  return status;
}

std::string status_as_text(const RunStatus& s) {
  std::string text = fmt::format("run      {}\n", s.run_dir.string());
  if (s.job) {
    const bool waits = !s.job->reason.empty() && s.job->reason != "None";
    text += fmt::format("job      {} {}{}, requeued {} times\n", s.job->id, s.job->state,
                        waits ? " (" + s.job->reason + ")" : "", s.job->restarts);
  }
  text += fmt::format("state    {}{}, {} restarts\n", s.state,
                      s.exit_code ? fmt::format(" (code {})", *s.exit_code) : "", s.restarts);
  if (!s.what.empty()) text += fmt::format("last     {}\n", s.what);
  if (s.first_failure && s.first_failure->what != s.what)
    text += fmt::format("failed   {}\n", s.first_failure->what);
  for (const std::string& change : s.changes) text += fmt::format("changed  {}\n", change);
  for (const std::string& file : s.damaged)
    text += fmt::format("damaged  {} is left out (R-029)\n", file);
  text += fmt::format("step     {}{}", s.step,
                      s.max_steps > 0 ? fmt::format(" of {}", s.max_steps) : "");
  if (s.loss) text += fmt::format(", loss {:.4g}", *s.loss);
  if (s.eta_s && !s.exit_code) text += fmt::format(", {} to go", human_seconds(*s.eta_s));
  text += "\n";
  for (const RankNow& r : s.ranks_now) {
    text += fmt::format("rank {:<4}{:<16} {:<10} step {:<8} {}\n", r.rank, r.host, r.phase, r.step,
                        r.end.empty() ? fmt::format("{} ago", human_seconds(r.silent_s)) : r.end);
  }
  return printable(text);
}

std::string status_as_json(const RunStatus& s) {
  const json nothing;
  json value{{"run_dir", s.run_dir.string()},
             {"state", s.state},
             {"step", s.step},
             {"max_steps", s.max_steps},
             {"attempt", s.attempt},
             {"restarts", s.restarts},
             {"what", s.what},
             {"changes", s.changes},
             {"damaged", s.damaged},
             {"ranks", json::array()}};
  for (const RankNow& rank : s.ranks_now) value["ranks"].push_back(rank_as_json(rank));
  value["loss"] = s.loss ? json(*s.loss) : nothing;
  value["eta_s"] = s.eta_s && !s.exit_code ? json(*s.eta_s) : nothing;
  value["exit_code"] = s.exit_code ? json(*s.exit_code) : nothing;
  value["first"] = s.first_failure ? failure_as_json(*s.first_failure) : nothing;
  value["job"] = s.job ? job_as_json(*s.job) : nothing;
  return value.dump(1, ' ', false, json::error_handler_t::replace);
}

}  // namespace muster::launcher
