#include "launcher/supervisor.h"

#include <fmt/core.h>
#include <poll.h>

#include <algorithm>
#include <chrono>
#include <csignal>
#include <nlohmann/json.hpp>

#include "base/files.h"
#include "base/log.h"
#include "base/text.h"
#include "launcher/command_builder.h"
#include "launcher/restart_policy.h"
#include "launcher/run_folder.h"

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
  explicit Supervisor(const LaunchSpec& spec)
      : spec_(spec), hub_{SIGINT, SIGTERM, SIGHUP, SIGUSR1, SIGUSR2, SIGCHLD}, policy_(spec.max_restarts) {
    ::signal(SIGPIPE, SIG_IGN);  // the terminal may close; the ranks go on
  }

  LaunchResult run() {
    archive_black_boxes(spec_.run_dir);
    for (int attempt = 0;; ++attempt) {
      if (!start_again(attempt)) return result_;
    }
  }

 private:
  // One attempt; true when another is to follow.
  bool start_again(int attempt) {
    const std::int64_t before = newest_checkpoint(spec_.run_dir);
    save_record(attempt);
    log::info("attempt {}: {} ranks{}", attempt, spec_.ranks, before >= 0 ? fmt::format(", from step {}", before) : "");
    result_.attempts.push_back(run_attempt(spec_, attempt, hub_, request_));
    const AttemptResult& ended = result_.attempts.back();
    const std::int64_t after = newest_checkpoint(spec_.run_dir);
    stalled_ = after > before ? 0 : stalled_ + 1;
    const Decision next = policy_.decide({ended.exit_code, after > before, request_.stop});
    log::info("attempt {} {} after {}: {}; newest checkpoint: {}", attempt, ending_name(ended.ending),
              human_seconds(ended.seconds), ended.what, after >= 0 ? fmt::format("step {}", after) : "none");
    result_.exit_code = next.exit_code;
    if (next.restart) log::warn("{}", next.why);
    if (!next.restart && next.exit_code != 0) log::info("no restart: {}; exit code {}", next.why, next.exit_code);
    save_record(attempt);
    if (!next.restart || !pause(ended.exit_code)) return false;
    archive_black_boxes(spec_.run_dir);
    return true;
  }

  // A failure that repeats at once gets a little more time each round. False when a stop was asked for meanwhile.
  bool pause(int exit_code) {
    using Clock = std::chrono::steady_clock;
    const auto until = Clock::now() + std::chrono::duration<double>(spec_.backoff_s * stalled_);
    for (;;) {
      take_signals(hub_, request_);
      const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(until - Clock::now()).count();
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
    for (const AttemptResult& a : result_.attempts) attempts.push_back(to_json(a));
    const json record{{"command", command.argv}, {"environment", command.environment},
                      {"ranks", spec_.ranks},    {"attempt", attempt},
                      {"attempts", attempts},    {"exit_code", result_.exit_code}};
    write_text(spec_.run_dir / "launch.json", record.dump(1, ' ', false, json::error_handler_t::replace) + "\n");
  }

  const LaunchSpec& spec_;
  SignalHub hub_;
  RestartPolicy policy_;
  StopRequest request_;
  LaunchResult result_;
  int stalled_ = 0;  // attempts in a row without a newer checkpoint
};

}  // namespace

LaunchResult supervise(const LaunchSpec& spec) { return Supervisor(spec).run(); }

}  // namespace muster::launcher
