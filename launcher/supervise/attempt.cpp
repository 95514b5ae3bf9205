#include "launcher/supervise/attempt.h"

#include <fmt/core.h>
#include <poll.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cmath>
#include <csignal>
#include <set>

#include "base/clock.h"
#include "base/error.h"
#include "base/files.h"
#include "base/log.h"
#include "base/pattern.h"
#include "base/process/process_tree.h"
#include "base/text.h"
#include "launcher/rank/mpi_segments.h"
#include "launcher/rank/run_folder.h"
#include "launcher/supervise/command_builder.h"
#include "launcher/supervise/host_clocks.h"
#include "launcher/supervise/starter_output.h"

namespace muster::launcher {
namespace {

using namespace std::chrono_literals;

constexpr int kTick_ms = 100;
constexpr double kLook_s = 0.25;     // between judgements of what the wrappers said
constexpr double kSave_s = 2;        // between copies of it for `muster status`
constexpr double kResendStop_s = 2;  // a rank may not have had its handler yet
// mpirun gets this long to end the world by itself after a failure, or after TERM.
constexpr double kPatience_s = 15;
constexpr double kCascade_s = 2;
constexpr auto kSweepGrace = 1000ms;
constexpr std::size_t kLastEvents = 12;  // of the culprit, into the log
constexpr int kStopped = static_cast<int>(ExitCode::kStoppedOnRequest);

bool disk_is_full(const fs::path& folder) {
  constexpr std::uintmax_t kNothing = 64 * 1024;
  std::error_code unknown;
  const fs::space_info space = fs::space(folder, unknown);
  return !unknown && space.available < kNothing;
}

class Attempt {
 public:
  Attempt(const LaunchSpec& spec, int attempt, SignalHub& hub, StopRequest& request,
          const RunOwner* owner)
      : spec_(spec),
        attempt_(attempt),
        hub_(hub),
        request_(request),
        owner_(owner),
        output_(spec),
        start_unix_(unix_now()),
        start_s_(seconds_now()),
        monitor_(spec.ranks, spec.watch.limits, start_s_) {}

  AttemptResult run() {
    const Command command = build_command(spec_, attempt_);
    tree_.spawn(command.argv, command.environment);
    while (!tree_.poll()) wait_once();
    output_.pump(tree_);
    result_.starter_code = *tree_.poll();
    result_.orphans = tree_.sweep(kSweepGrace);
    output_.pump(tree_);
    output_.finish();
    if (result_.orphans > 0)
      log::warn("{} processes outlived {} and were ended", result_.orphans, spec_.starter.program);
    sweep_segments();
    judge();
    save_beats();
    result_.seconds = seconds_now() - start_s_;
    return result_;
  }

 private:
  void wait_once() {
    const auto [out, err] = output_.open_fds(tree_);
    std::array<pollfd, 3> fds{{{hub_.fd(), POLLIN, 0}, {out, POLLIN, 0}, {err, POLLIN, 0}}};
    ::poll(fds.data(), fds.size(), kTick_ms);
    output_.pump(tree_);
    hear();
    give_up_if_superseded();
    const double now = seconds_now();
    if (now - looked_s_ >= kLook_s) {
      looked_s_ = now;
      look(now);
    }
    if (request_.kill && ending_since_s_ == 0) end_world(now);
    if (request_.stop) forward_stop(now);
    enforce_end(now);
  }

  // Prints one line per event. What mpirun or srun say about it from now on (signals forwarded,
  // codes of ranks) is not shown: it stands in mpirun.out.
  void hear() {
    const NewRequest asked = take_signals(hub_, request_);
    if (asked == NewRequest::kNone) return;
    output_.mute_starter();
    const std::int64_t newest = newest_checkpoint(spec_.run_dir);
    if (asked == NewRequest::kStop)
      log::info("{}", describe_stop(request_, newest));
    else
      log::warn("got INT again: ending the ranks now; the steps since {} are lost",
                since_what(newest));
  }

  // The run is somebody else's now: nothing more may be written to its folder.
  void give_up_if_superseded() {
    if (owner_ == nullptr || !owner_->superseded() || request_.kill) return;
    log::error("the run was taken over by {} (R-026): this launch ends", owner_->successor());
    request_.stop = true;
    request_.kill = true;
  }

  // What the wrappers said. Times in it are on this machine's clock, as far as that can be known.
  std::vector<RankEvidence> evidence() { return on_our_clock(output_.board().evidence()); }

  // Once the world has ended, with what was left in the run folder as far as it can be seen.
  std::vector<RankEvidence> all_evidence() {
    return on_our_clock(merge_evidence(output_.board().evidence(),
                                       read_rank_evidence(spec_.run_dir, spec_.ranks, attempt_)));
  }

  // The wrappers have said which job mpirun made of this attempt; no rank of it is alive here.
  void sweep_segments() const {
    std::set<std::string> jobs;
    for (const RankEvidence& rank : output_.board().evidence())
      if (rank.status.host == own_host()) jobs.insert(rank.status.mpi_job);
    int removed = 0;
    for (const std::string& job : jobs)
      removed += remove_segments(kSegmentFolder, {.host = own_host(), .job = job});
    if (removed > 0)
      log::info("{} left {} files of its ranks in {}: removed", spec_.starter.program, removed,
                kSegmentFolder);
  }

  void save_beats() const {
    if (owner_ == nullptr || !owner_->superseded()) output_.board().save(spec_.run_dir, attempt_);
  }

  std::vector<RankEvidence> on_our_clock(std::vector<RankEvidence> ranks) {
    for (const RankEvidence& rank : ranks) clocks_.see(rank.status, unix_now());
    for (RankEvidence& rank : ranks) clocks_.correct(rank.status);
    return ranks;
  }

  void look(double now) {
    if (now - saved_s_ >= kSave_s) {
      saved_s_ = now;
      save_beats();
    }
    const auto ranks = evidence();
    all_started_ = output_.board().reported() == spec_.ranks;
    if (ending_since_s_ > 0 || failed_since_s_ > 0) return;
    if (const auto failure = first_failure(ranks); failure && is_clear(*failure, now)) {
      notice(now, failure->what);
      failed_since_s_ = now;
      return;
    }
    if (auto hang = monitor_.observe(output_.board().beats(), now))
      declare_hang(std::move(*hang), now);
  }

  // A rank that blames a peer is not believed at once: the peer's own status may be on its way.
  bool is_clear(const FirstFailure& failure, double now) {
    if (blamed_since_s_ == 0) blamed_since_s_ = now;
    return !failure.rank.status.consequence || now - blamed_since_s_ > kCascade_s;
  }

  void notice(double now, const std::string& what) {
    result_.noticed_unix = unix_now();
    log::error("attempt {}: {} ({:.1f} s after the start)", attempt_, what, now - start_s_);
  }

  static std::string place_of(const RankBeat& beat) {
    if (!beat.present) return "it never opened its black box";
    const std::string state = beat.state != 0 ? fmt::format(", process state {}", beat.state) : "";
    return fmt::format("in phase {} of step {}, collective {}{}", phase_name(beat.last.phase),
                       beat.last.step, beat.last.collective, state);
  }

  void declare_hang(Hang hang, double now) {
    const RankBeat& b = hang.culprit;
    const std::string where = place_of(b);
    notice(now, fmt::format("hang: rank {} made no sound for {:.1f} s (limit {:.1f} s) and is the "
                            "furthest behind, {} (R-005)",
                            b.rank, hang.silent_s, hang.limit_s, where));
    result_.what = fmt::format("rank {} hung {}", b.rank, where);
    if (hang.wrapper_silent) {
      result_.what +=
          ", and its wrapper is silent, too: its host or the way to it may be lost "
          "(R-007)";
      log::error(
          "no beat comes from rank {}{} either: the host or the way to it may be lost (R-007)",
          b.rank, b.host.empty() ? "" : " on " + b.host);
    }
    hang_ = std::move(hang);
    end_world(now);
  }

  void log_last_events(int rank) const {
    const auto box = read_flight_log(flight_file(spec_.run_dir, rank), kLastEvents);
    if (!box) return;
    for (const FlightEvent& e : box->events) {
      log::info("  rank {} {:9.3f} s: step {} micro {} {} bucket {} collective {}", rank,
                static_cast<double>(e.time_ns) * 1e-9 - start_unix_, e.step, e.micro_step,
                phase_name(e.phase), e.bucket, e.collective);
    }
  }

  // Sends USR2, because Open MPI and srun answer TERM by killing the ranks, and not before every
  // wrapper is ready to take it.
  void forward_stop(double now) {
    if (!all_started_ || ending_since_s_ > 0 || now - stop_sent_s_ < kResendStop_s) return;
    stop_sent_s_ = now;
    tree_.signal(SIGUSR2);
  }

  void end_world(double now) {
    ending_since_s_ = now;
    tree_.signal(SIGTERM);
  }

  void enforce_end(double now) {
    if (failed_since_s_ > 0 && ending_since_s_ == 0 && now - failed_since_s_ > kPatience_s) {
      log::warn("{} did not end the world within {:.0f} s of the failure", spec_.starter.program,
                kPatience_s);
      end_world(now);
    }
    if (ending_since_s_ > 0 && now - ending_since_s_ > kPatience_s) tree_.signal(SIGKILL);
  }

  void judge() {
    const auto ranks = all_evidence();
    result_.clock_offsets = clocks_.offsets();
    for (const auto& [host, seconds] : result_.clock_offsets)
      log::warn(
          "the clock of {} is {:.1f} s {} this machine's (R-025): nothing depends on it, but "
          "times in its logs are off by as much",
          host, std::abs(seconds), seconds > 0 ? "ahead of" : "behind");
    for (const RankEvidence& rank : ranks) result_.rank_host[rank.status.rank] = rank.status.host;
    if (request_.kill) {
      finish(Ending::kKilled, 128 + SIGINT, "killed on request");
    } else if (hang_) {
      log_last_events(hang_->culprit.rank);
      finish(Ending::kHang, static_cast<int>(ExitCode::kHang), result_.what);
      result_.failure = FirstFailure{culprit(ranks), result_.noticed_unix, result_.what};
      result_.hang = hang_;
    } else if (const auto failure = first_failure(ranks)) {
      finish(Ending::kFailed, code_of(failure->rank.status), failure->what);
      result_.failure = failure;
    } else if (stopped_on_request(ranks)) {
      finish(Ending::kStopped, kStopped, "stopped at a step boundary");
    } else {
      judge_starter(ranks);
    }
    if (result_.failure) list_cascade(ranks);
  }

  // A rank that was ended while it aborted has no code of its own; mpirun leaves with the abort's.
  int code_of(RankStatus status) const {
    if (status.torn_down) status.exit_code = result_.starter_code;
    return exit_code_for(status);
  }

  static bool stopped_on_request(const std::vector<RankEvidence>& ranks) {
    return std::ranges::any_of(
        ranks, [](const RankEvidence& rank) { return rank.status.exit_code == kStopped; });
  }

  // No rank failed by itself: the starter's own end decides.
  void judge_starter(const std::vector<RankEvidence>& ranks) {
    const std::string& starter = spec_.starter.program;
    const int code = result_.starter_code;
    const int failed = static_cast<int>(ExitCode::kRankFailed);
    if (code == 0) {
      finish(Ending::kDone, 0, "done");
    } else if (disk_is_full(spec_.run_dir)) {
      finish(
          Ending::kFailed, static_cast<int>(ExitCode::kIo),
          fmt::format("the disk of {} is full (R-009): nothing can be written there, not even how "
                      "ranks end",
                      spec_.run_dir.string()));
    } else if (tree_.killed()) {
      finish(Ending::kFailed, failed,
             fmt::format("{} itself was killed by signal {}", starter, code - 128));
    } else if (ranks.empty()) {
      finish(Ending::kNotStarted, static_cast<int>(ExitCode::kPreflight),
             fmt::format("{} ended with {} before any rank started; its words are in "
                         "logs/mpirun.out (R-011)",
                         starter, code));
    } else {
      finish(Ending::kFailed, failed, end_of_starter(ranks, starter, code));
    }
  }

  // What the starter says about a lost node is believed; otherwise somebody ended a wrapper or the
  // starter itself.
  std::string end_of_starter(const std::vector<RankEvidence>& ranks, const std::string& starter,
                             int code) const {
    static const Pattern kLost(
        R"(lost (communication|contact|connection)|daemon.*(fail|died|lost|exited)|No route to host|)"
        R"(unreachable|node failure|Node failure)");
    if (kLost.found_in(output_.last_words()))
      return fmt::format(
          "{} ended with {} but no rank failed by itself: a node or a link may be "
          "lost (R-007)",
          starter, code);
    std::vector<std::string> silent;
    for (const RankEvidence& rank : ranks)
      if (!rank.status.ended())
        silent.push_back(fmt::format("{} on {}", rank.status.rank, rank.status.host));
    // A starter that was told to end kills wrappers which do not end within its own patience (one
    // second in Open MPI 4): their silence then says nothing. It reports a wrapper that was killed
    // without its doing as its own end.
    if (!silent.empty() && code == 128 + SIGKILL)
      return fmt::format(
          "the wrapper of rank {} was killed before it could say how the rank ended "
          "(signal 9, from a person, the site or the kernel); {} ended with {}",
          join(silent, ", "), starter, code);
    return fmt::format(
        "{} was told to end (it left with {}): all ranks were ended by it, none failed. "
        "A person or the site sent it a signal",
        starter, code);
  }

  static Reaction reaction_of(const RankStatus& status) {
    if (status.torn_down) return Reaction::kTornDown;
    if (status.consequence) return Reaction::kBlamesPeer;
    return status.ended() ? Reaction::kFailedLater : Reaction::kWaited;
  }

  // Names everybody else who did not end well, so that nobody looks for the cause there.
  void list_cascade(const std::vector<RankEvidence>& ranks) {
    const int first = result_.failure->rank.status.rank;
    for (const RankEvidence& rank : ranks) {
      const bool well = rank.status.ended() && rank.status.exit_code == 0;
      if (rank.status.rank != first && !well)
        result_.cascade.push_back({rank.status.rank, reaction_of(rank.status)});
    }
    if (result_.cascade.empty()) return;
    std::string list;
    constexpr std::size_t kNamed = 8;
    for (std::size_t i = 0; i < result_.cascade.size() && i < kNamed; ++i)
      list += fmt::format("{}{} ({})", i == 0 ? "" : ", ", result_.cascade[i].rank,
                          reaction_name(result_.cascade[i].why));
    if (result_.cascade.size() > kNamed)
      list += fmt::format(" and {} more", result_.cascade.size() - kNamed);
    log::info("cascade of rank {}, not causes: ranks {}", first, list);
  }

  RankEvidence culprit(const std::vector<RankEvidence>& ranks) const {
    for (const RankEvidence& rank : ranks) {
      if (rank.status.rank == hang_->culprit.rank) return rank;
    }
    RankEvidence unknown;
    unknown.status.rank = hang_->culprit.rank;
    unknown.status.host = hang_->culprit.host;
    return unknown;
  }

  void finish(Ending ending, int code, const std::string& what) {
    result_.ending = ending;
    result_.exit_code = code;
    result_.what = what;
    if (result_.noticed_unix == 0 && ending != Ending::kDone && ending != Ending::kStopped)
      result_.noticed_unix = unix_now();
  }

  const LaunchSpec& spec_;
  const int attempt_;
  SignalHub& hub_;
  StopRequest& request_;
  const RunOwner* owner_;
  ProcessTree tree_;
  StarterOutput output_;
  bool all_started_ = false;
  const double start_unix_;
  const double start_s_;
  HeartbeatMonitor monitor_;
  HostClocks clocks_;
  std::optional<Hang> hang_;
  // Seconds on the steady clock; 0 is "not yet".
  double looked_s_ = 0;
  double saved_s_ = 0;
  double stop_sent_s_ = 0;
  double failed_since_s_ = 0;
  double ending_since_s_ = 0;
  double blamed_since_s_ = 0;  // a rank that says a peer is to blame
  AttemptResult result_;
};

}  // namespace

const char* reaction_name(Reaction reaction) {
  constexpr std::array kNames{"torn down", "blames a peer", "failed later", "waited"};
  return kNames[static_cast<std::size_t>(reaction)];
}

AttemptResult run_attempt(const LaunchSpec& spec, int attempt, SignalHub& hub, StopRequest& request,
                          const RunOwner* owner) {
  return Attempt(spec, attempt, hub, request, owner).run();
}

}  // namespace muster::launcher
