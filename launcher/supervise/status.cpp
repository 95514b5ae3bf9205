#include "launcher/supervise/status.h"

#include <fmt/core.h>
#include <signal.h>

#include <algorithm>
#include <cctype>
#include <cerrno>
#include <cstdlib>
#include <fstream>
#include <nlohmann/json.hpp>

#include "base/clock.h"
#include "base/error.h"
#include "base/files.h"
#include "base/text.h"
#include "configs/config.h"
#include "launcher/rank/heartbeat.h"
#include "launcher/rank/rank_status.h"
#include "launcher/rank/run_folder.h"

namespace muster::launcher {
namespace {

using nlohmann::json;

constexpr std::size_t kStepsForEta = 20;
constexpr std::streamoff kTail = 256 * 1024;  // some hundred lines of metrics

json parse_or_null(const std::string& text) { return json::parse(text, nullptr, false); }

json launch_record(const fs::path& run_dir) {
  const fs::path file = run_dir / "launch.json";
  if (!fs::exists(file)) return {};
  const json record = parse_or_null(read_text(file));
  return record.is_object() ? record : json();
}

// The newest optimizer steps, oldest first. A line that is being written, or the cut one at the
// start, does not parse.
std::vector<json> newest_steps(const fs::path& run_dir) {
  std::ifstream in(run_dir / "metrics.jsonl", std::ios::ate);
  if (!in) return {};
  in.seekg(std::max<std::streamoff>(0, static_cast<std::streamoff>(in.tellg()) - kTail));
  std::vector<json> rows;
  for (std::string line; std::getline(in, line);) {
    json row = parse_or_null(line);
    if (row.is_object() && row.contains("step") && row.contains("loss"))
      rows.push_back(std::move(row));
  }
  if (rows.size() > kStepsForEta) rows.erase(rows.begin(), rows.end() - kStepsForEta);
  return rows;
}

std::int64_t max_steps_of(const fs::path& run_dir) {
  if (!fs::exists(run_dir / "config.yaml")) return 0;
  try {
    return configs::load(run_dir / "config.yaml").schedule.max_steps;
  } catch (const ConfigError&) {
    return 0;  // of another version: the rest of the status is still worth having
  }
}

void add_progress(RunStatus& status) {
  const std::vector<json> rows = newest_steps(status.run_dir);
  status.max_steps = max_steps_of(status.run_dir);
  if (rows.empty()) return;
  status.step = rows.back()["step"];
  if (rows.back()["loss"].is_number()) status.loss = rows.back()["loss"];
  double seconds = 0;
  for (const json& row : rows) seconds += row.value("seconds", 0.0);
  if (status.max_steps > status.step && seconds > 0)
    status.eta_s = seconds / static_cast<double>(rows.size()) *
                   static_cast<double>(status.max_steps - status.step);
}

std::string end_of(const RankStatus& s) {
  if (!s.ended()) return "";
  return s.signal != 0 ? fmt::format("signal {}", s.signal) : fmt::format("code {}", s.exit_code);
}

void add_ranks(RunStatus& status) {
  for (const RankBeat& beat : read_beats(status.run_dir, status.ranks, 0)) {
    RankNow now;
    now.rank = beat.rank;
    now.phase = "not there";
    if (beat.present) {
      now.host = beat.host;
      now.phase = std::string(phase_name(beat.last.phase));
      now.step = beat.last.step, now.collective = beat.last.collective;
      now.silent_s = std::max(0.0, unix_now() - static_cast<double>(beat.last.time_ns) * 1e-9);
    }
    if (const auto rank = read_rank_status(status.run_dir, beat.rank))
      now.host = rank->host, now.end = end_of(*rank);
    status.ranks_now.push_back(std::move(now));
  }
}

int count_ranks(const fs::path& run_dir) {
  int ranks = 0;
  while (fs::exists(flight_file(run_dir, ranks))) ++ranks;
  return ranks;
}

void add_attempts(RunStatus& status, const json& record) {
  const json attempts = record.value("attempts", json::array());
  status.ranks = record.value("ranks", 0);
  status.attempt = record.value("attempt", 0);
  status.restarts = status.attempt;
  for (const json& change : record.value("changes", json::array()))
    status.changes.push_back(change.value("what", ""));
  if (!attempts.empty()) status.what = attempts.back().value("what", "");
  if (attempts.size() > static_cast<std::size_t>(status.attempt)) {
    status.state = attempts.back().value("ending", "");
    status.exit_code = record.value("exit_code", 0);
    return;
  }
  const bool here = record.value("host", "") == own_host();
  const bool gone = here && ::kill(record.value("pid", 0), 0) != 0 && errno == ESRCH;
  status.state = gone ? "lost" : "running";
}

std::string value_after(std::string_view text, std::string_view key) {
  const std::size_t at = text.find(key);
  if (at == std::string_view::npos) return "";
  const std::size_t begin = at + key.size();
  return std::string(text.substr(begin, text.find_first_of(" \n", begin) - begin));
}

json job_as_json(const JobStatus& job) {
  return {{"id", job.id}, {"state", job.state}, {"reason", job.reason}, {"restarts", job.restarts}};
}

}  // namespace

RunStatus read_status(const fs::path& run_dir) {
  RunStatus status;
  status.run_dir = run_dir;
  const json record = launch_record(run_dir);
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
    text += fmt::format(
        "job      {} {}{}, requeued {} times\n", s.job->id, s.job->state,
        s.job->reason.empty() || s.job->reason == "None" ? "" : " (" + s.job->reason + ")",
        s.job->restarts);
  }
  text += fmt::format("state    {}{}, {} restarts\n", s.state,
                      s.exit_code ? fmt::format(" (code {})", *s.exit_code) : "", s.restarts);
  if (!s.what.empty()) text += fmt::format("last     {}\n", s.what);
  for (const std::string& change : s.changes) text += fmt::format("changed  {}\n", change);
  text += fmt::format("step     {}{}", s.step,
                      s.max_steps > 0 ? fmt::format(" of {}", s.max_steps) : "");
  if (s.loss) text += fmt::format(", loss {:.4g}", *s.loss);
  if (s.eta_s && !s.exit_code) text += fmt::format(", {} to go", human_seconds(*s.eta_s));
  text += "\n";
  for (const RankNow& r : s.ranks_now) {
    text += fmt::format("rank {:<4}{:<16} {:<10} step {:<8} {}\n", r.rank, r.host, r.phase, r.step,
                        r.end.empty() ? fmt::format("{} ago", human_seconds(r.silent_s)) : r.end);
  }
  return text;
}

std::string status_as_json(const RunStatus& s) {
  json ranks = json::array();
  for (const RankNow& r : s.ranks_now) {
    ranks.push_back({{"rank", r.rank},
                     {"host", r.host},
                     {"phase", r.phase},
                     {"step", r.step},
                     {"collective", r.collective},
                     {"silent_s", r.silent_s},
                     {"end", r.end}});
  }
  json value{{"run_dir", s.run_dir.string()},
             {"state", s.state},
             {"step", s.step},
             {"max_steps", s.max_steps},
             {"attempt", s.attempt},
             {"restarts", s.restarts},
             {"what", s.what},
             {"changes", s.changes},
             {"ranks", ranks},
             {"loss", nullptr},
             {"eta_s", nullptr},
             {"exit_code", nullptr},
             {"job", nullptr}};
  if (s.loss) value["loss"] = *s.loss;
  if (s.eta_s && !s.exit_code) value["eta_s"] = *s.eta_s;
  if (s.exit_code) value["exit_code"] = *s.exit_code;
  if (s.job) value["job"] = job_as_json(*s.job);
  return value.dump(1, ' ', false, json::error_handler_t::replace);
}

JobStatus parse_job_status(std::string_view text) {
  JobStatus job;
  job.id = value_after(text, "JobId=");
  job.state = value_after(text, "JobState=");
  job.reason = value_after(text, " Reason=");
  const std::string restarts = value_after(text, " Restarts=");
  job.restarts = restarts.empty() ? 0 : std::atoi(restarts.c_str());
  const fs::path log = value_after(text, "StdOut=");
  if (job.id.empty() || log.empty())
    throw UsageError(fmt::format("no such SLURM job: {}", text.substr(0, text.find('\n'))));
  job.run_dir = log.parent_path().parent_path();
  return job;
}

bool is_job_id(std::string_view text) {
  return !text.empty() && std::isdigit(static_cast<unsigned char>(text.front())) != 0 &&
         text.find_first_not_of("0123456789_") == std::string_view::npos;
}

}  // namespace muster::launcher
