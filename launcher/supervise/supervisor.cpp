#include "launcher/supervise/supervisor.h"

#include <fmt/core.h>
#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <csignal>
#include <cstring>
#include <nlohmann/json.hpp>

#include "base/clock.h"
#include "base/error.h"
#include "base/files.h"
#include "base/log.h"
#include "base/process/atomic_file.h"
#include "base/text.h"
#include "launcher/rank/beat.h"
#include "launcher/rank/run_folder.h"
#include "launcher/rank/side_file.h"
#include "launcher/supervise/command_builder.h"
#include "launcher/supervise/restart_policy.h"
#include "launcher/supervise/survivors.h"

namespace muster::launcher {
namespace {

using nlohmann::json;

const char* ending_name(Ending ending) {
  switch (ending) {
    case Ending::kDone: return "done";
    case Ending::kStopped: return "stopped";
    case Ending::kFailed: return "failed";
    case Ending::kHang: return "hang";
    case Ending::kNotStarted: return "not started";
    case Ending::kKilled: return "killed";
  }
  return "unknown";
}

json to_json(const AttemptResult& a) {
  json value{{"ending", ending_name(a.ending)},
             {"exit_code", a.exit_code},
             {"starter_code", a.starter_code},
             {"what", a.what},
             {"seconds", a.seconds},
             {"noticed_unix", a.noticed_unix},
             {"orphans", a.orphans}};
  if (a.hang) value["hang"] = {{"silent_s", a.hang->silent_s}, {"limit_s", a.hang->limit_s}};
  if (!a.clock_offsets.empty()) value["clock_offsets"] = a.clock_offsets;
  for (const CascadeRank& rank : a.cascade)
    value["cascade"].push_back({{"rank", rank.rank}, {"why", reaction_name(rank.why)}});
  if (a.failure) {
    value["first"] = {{"rank", a.failure->rank.status.rank},
                      {"host", a.failure->rank.status.host},
                      {"time_unix", a.failure->time_unix},
                      {"exit_code", a.failure->rank.status.exit_code},
                      {"signal", a.failure->rank.status.signal}};
    if (a.failure->rank.last) {
      value["first"]["phase"] = phase_name(a.failure->rank.last->phase);
      value["first"]["step"] = a.failure->rank.last->step;
      value["first"]["collective"] = a.failure->rank.last->collective;
    }
  }
  return value;
}

class Supervisor {
 public:
  Supervisor(const LaunchSpec& spec, const RunOwner* owner)
      : spec_(spec),
        owner_(owner),
        hub_{SIGINT, SIGTERM, SIGHUP, SIGUSR1, SIGUSR2, SIGCHLD},
        policy_(spec.restart.max_restarts) {
    ::signal(SIGPIPE, SIG_IGN);  // the terminal may close; the ranks go on
  }

  LaunchResult run() {
    archive_black_boxes(spec_.run_dir);
    find_rung();
    int attempt = 0;
    while (start_again(attempt)) ++attempt;
    say_how_to_continue();
    return result_;
  }

 private:
  // An earlier launch of the same config may have stepped down its ladder: continuing from its
  // checkpoint at the top would only run out of memory again.
  void find_rung() {
    if (newest_checkpoint(spec_.run_dir) < 0) return;
    const json record = read_side_file(spec_.run_dir / "launch.json");
    if (!record.is_object() || !record.contains("ladder_overrides")) return;
    for (std::size_t i = 0; i < spec_.restart.ladder.size(); ++i) {
      if (record["ladder_overrides"] != json(spec_.restart.ladder[i].overrides)) continue;
      spec_.restart.rung = static_cast<int>(i) + 1;
      log::warn(
          "memory ladder: continuing on rung {} of {}, as the earlier launch left it: {} (T-005)",
          spec_.restart.rung, spec_.restart.ladder.size(), spec_.restart.ladder[i].what);
    }
  }

  // Makes one attempt and returns true when another is to follow.
  bool start_again(int attempt) {
    const std::int64_t before = newest_checkpoint(spec_.run_dir);
    spec_.watch.beat_token = make_beat_token();
    save_record(attempt);
    log::info("attempt {}: {} ranks{}", attempt, spec_.ranks,
              before >= 0 ? fmt::format(", from step {}", before) : "");
    result_.attempts.push_back(run_attempt(spec_, attempt, hub_, request_, owner_));
    AttemptResult& ended = result_.attempts.back();
    const std::int64_t after = newest_checkpoint(spec_.run_dir);
    const bool progressed = after > before;
    stalled_ = progressed ? 0 : stalled_ + 1;
    log::info("attempt {} {} after {}: {}; newest checkpoint: {}", attempt,
              ending_name(ended.ending), human_seconds(ended.seconds), ended.what,
              after >= 0 ? fmt::format("step {}", after) : "none");
    judge_rung(ended, progressed);
    const bool restart = decide(ended, attempt, progressed);
    save_record(attempt);
    if (!restart || !pause(ended.exit_code)) return false;
    archive_black_boxes(spec_.run_dir);
    return true;
  }

  bool decide(const AttemptResult& ended, int attempt, bool progressed) {
    const bool may_change = !request_.stop && spec_.restart.max_restarts > 0;
    const std::string remedy = may_change ? find_remedy(ended) : "";
    const Decision next =
        policy_.decide({.exit_code = ended.exit_code,
                        .progressed = progressed,
                        .stop_requested = request_.stop,
                        .remedy = !remedy.empty(),
                        .hopeless = ended.what.find("(R-028)") != std::string::npos});
    result_.exit_code = next.exit_code;
    if (!remedy.empty()) result_.changes.push_back({attempt + 1, remedy});
    const bool as_asked = ended.ending == Ending::kStopped || ended.ending == Ending::kKilled;
    if (next.restart)
      log::warn("{}{}{}", next.why, remedy.empty() ? "" : ": ", remedy);
    else if (next.exit_code != 0 && !as_asked)
      log::info("no restart: {}; exit code {}", next.why, next.exit_code);
    return next.restart;
  }

  // Prints the last line of a run that somebody stopped.
  void say_how_to_continue() const {
    const bool done = result_.attempts.back().ending == Ending::kDone;
    if (!request_.stop || done || spec_.continue_with.empty()) return;
    log::info("to continue from {}: {}", since_what(newest_checkpoint(spec_.run_dir)),
              spec_.continue_with);
  }

  // A rung on which a sample no longer fits is refused by the ranks at once as a config or data
  // error; the error is ours.
  void judge_rung(AttemptResult& ended, bool progressed) const {
    const auto code = static_cast<ExitCode>(ended.exit_code);
    if (spec_.restart.rung == 0 || progressed ||
        (code != ExitCode::kUsage && code != ExitCode::kData))
      return;
    ended.what = "out of memory, and one rung lower the data does not fit: " + ended.what;
    ended.exit_code = static_cast<int>(ExitCode::kOutOfMemory);
    log::error("{} (R-001)", ended.what);
  }

  // Changes the spec so that the next attempt is not the same again; says how, "" when there is
  // nothing to change.
  std::string find_remedy(const AttemptResult& ended) {
    switch (static_cast<ExitCode>(ended.exit_code)) {
      case ExitCode::kOutOfMemory: return step_down();
      case ExitCode::kPreflight:
      case ExitCode::kRankFailed:
      case ExitCode::kHang:
      case ExitCode::kIo: return leave_hosts_out(ended);
      default: return "";
    }
  }

  std::string step_down() {
    if (static_cast<std::size_t>(spec_.restart.rung) >= spec_.restart.ladder.size()) return "";
    const Rung& rung = spec_.restart.ladder[static_cast<std::size_t>(spec_.restart.rung++)];
    return fmt::format(
        "memory ladder, rung {} of {}: {} (T-005){}", spec_.restart.rung,
        spec_.restart.ladder.size(), rung.what,
        rung.keeps_bits ? "" : ". Bits differ from an undisturbed run's from here on");
  }

  // After a failure that may be a machine's this leaves out the hosts that no longer answer, and
  // one on which a rank failed twice running.
  std::string leave_hosts_out(const AttemptResult& ended) {
    const std::vector<Host> used = hosts_in_use(spec_, ended);
    const std::string failed_on = ended.failure ? ended.failure->rank.status.host : "";
    // A host calls itself by its own name, which launch.hosts may not use.
    const bool named = std::ranges::find(used, failed_on, &Host::name) != used.end();
    const bool twice = named && failed_on == last_failed_host_ && stalled_ >= 2;
    last_failed_host_ = failed_on;
    if (spec_.restart.min_ranks == 0 || used.size() < 2) return "";
    std::vector<std::string> lost = silent_hosts(spec_, used);
    const std::string why = lost.empty() ? "its ranks keep failing there" : "no answer";
    if (lost.empty() && twice) lost = {failed_on};
    if (lost.empty()) return "";
    const auto left = shrink(spec_, used, lost);
    if (!left) {
      log::warn(
          "{} lost ({}), but what is left cannot run {} ranks or more that divide G = {} (R-007)",
          join(lost, ", "), why, spec_.restart.min_ranks, spec_.restart.micro_batches);
      return "";
    }
    spec_ = *left;
    last_failed_host_.clear();
    return fmt::format("without {} ({}), on {} ranks (R-007)", join(lost, ", "), why, spec_.ranks);
  }

  // A failure that repeats at once gets a little more time each round. Returns false when a stop
  // was asked for meanwhile.
  bool pause(int exit_code) {
    const auto until = std::chrono::steady_clock::now() +
                       std::chrono::duration<double>(spec_.restart.backoff_s * stalled_);
    for (;;) {
      if (take_signals(hub_, request_) != NewRequest::kNone)
        log::info("got {}: the run stops here, between two attempts",
                  ::sigabbrev_np(request_.signal));
      const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(
                            until - std::chrono::steady_clock::now())
                            .count();
      if (request_.stop || left <= 0) break;
      pollfd fd{hub_.fd(), POLLIN, 0};
      ::poll(&fd, 1, static_cast<int>(left));
    }
    if (request_.stop) result_.exit_code = exit_code;
    return !request_.stop;
  }

  void save_record(int attempt) const {
    const Command command = build_command(spec_, attempt);
    json attempts = json::array();
    json changes = json::array();
    for (const AttemptResult& a : result_.attempts) attempts.push_back(to_json(a));
    for (const Change& c : result_.changes)
      changes.push_back({{"attempt", c.attempt}, {"what", c.what}});
    const json record{{"command", command.argv},
                      {"environment", command.environment},
                      {"starter", spec_.starter.version},
                      {"hosts", host_list(spec_.placement.hosts)},
                      {"ranks", spec_.ranks},
                      {"ladder_rung", spec_.restart.rung},
                      {"ladder_overrides", rung_overrides(spec_.restart)},
                      {"changes", changes},
                      {"attempt", attempt},
                      {"attempts", attempts},
                      {"exit_code", result_.exit_code},
                      {"host", own_host()},
                      {"pid", ::getpid()}};
    try {
      write_text(spec_.run_dir / "launch.json",
                 record.dump(1, ' ', false, json::error_handler_t::replace) + "\n");
    } catch (const IoError& error) {  // ranks are not ended because a record of them is late
      log::warn("launch.json is not up to date: {}", error.what());
    }
  }

  LaunchSpec spec_;  // changes as the ladder is stepped down and hosts are left out
  const RunOwner* owner_;
  SignalHub hub_;
  RestartPolicy policy_;
  StopRequest request_;
  LaunchResult result_;
  std::string last_failed_host_;
  int stalled_ = 0;  // attempts in a row without a newer checkpoint
};

}  // namespace

LaunchResult supervise(const LaunchSpec& spec, const RunOwner* owner) {
  return Supervisor(spec, owner).run();
}

}  // namespace muster::launcher
