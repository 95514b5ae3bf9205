#include "launcher/rank/heartbeat.h"

#include <algorithm>
#include <tuple>

#include "base/clock.h"
#include "base/process/process_tree.h"
#include "launcher/rank/rank_status.h"

namespace muster::launcher {
namespace {

// The launcher itself was stopped for so long (a suspended machine): its ranks probably were, too.
constexpr double kOwnPause_s = 10;

auto progress(const RankBeat& b) {
  return std::tuple(b.present, b.last.step, b.last.collective, b.last.micro_step, b.last.phase,
                    b.state != 'T', b.heard_s);
}

}  // namespace

double silence_limit(const RankBeat& beat, bool started, const PhaseLimits& limits) {
  if (!started) return limits.start_s;
  switch (beat.last.phase) {
    case Phase::kLoad:
    case Phase::kCheckpoint:
    case Phase::kEvaluate:
    case Phase::kDone: return limits.checkpoint_s;
    default: return limits.step_s;
  }
}

int compare_progress(const RankBeat& a, const RankBeat& b) {
  const auto left = progress(a);
  const auto right = progress(b);
  if (left < right) return -1;
  return right < left ? 1 : 0;
}

HeartbeatMonitor::HeartbeatMonitor(int world_size, const PhaseLimits& limits, double now_s)
    : limits_(limits),
      seen_(static_cast<std::size_t>(world_size), Seen{0, now_s, false}),
      observed_s_(now_s) {}

void HeartbeatMonitor::update(Seen& seen, const RankBeat& beat, double now_s) {
  if (!beat.present || beat.written == seen.written) return;
  seen.written = beat.written;
  seen.at_s = now_s;
  if (beat.last.step < 0) return;
  seen.started =
      seen.started || beat.last.step > beat.first_step || beat.last.phase > Phase::kOptimizer;
}

// What the wrapper measured beside the rank is exact; without it, or when it is late, what is known
// here has to do.
double HeartbeatMonitor::silence(const Seen& seen, const RankBeat& beat, double now_s) {
  const bool told = beat.silent_s >= 0 && now_s - beat.told_s <= kLateBeat_s;
  return told ? beat.silent_s : now_s - seen.at_s;
}

std::optional<Hang> HeartbeatMonitor::observe(std::span<const RankBeat> beats, double now_s) {
  if (const double gap = now_s - observed_s_; gap > kOwnPause_s) {
    for (Seen& seen : seen_) seen.at_s += gap;
  }
  observed_s_ = now_s;
  std::optional<RankBeat> slowest;
  for (RankBeat beat : beats) {
    Seen& seen = seen_[static_cast<std::size_t>(beat.rank)];
    update(seen, beat, now_s);
    beat.heard_s = now_s - silence(seen, beat, now_s);
    if (!beat.ended && (!slowest || compare_progress(beat, *slowest) < 0))
      slowest = std::move(beat);
  }
  if (!slowest) return std::nullopt;
  const Seen& seen = seen_[static_cast<std::size_t>(slowest->rank)];
  const double limit = silence_limit(*slowest, seen.started, limits_);
  const double silent_s = silence(seen, *slowest, now_s);
  if (silent_s <= limit) return std::nullopt;
  const bool wrapper_silent = slowest->told_s > 0 && now_s - slowest->told_s > kLateBeat_s;
  return Hang{*slowest, silent_s, limit, wrapper_silent};
}

RankBeat read_beat(const std::filesystem::path& box, int rank, const std::string& host) {
  RankBeat beat;
  beat.rank = rank;
  const auto log = read_flight_log(box, 1);
  if (!log) return beat;
  beat.present = true;
  beat.written = log->written;
  if (!log->events.empty()) beat.last = log->events.back();
  beat.first_step = log->first_step;
  beat.pid = log->pid;
  beat.host = log->host;
  if (log->host == host) beat.state = process_state(static_cast<pid_t>(log->pid));
  return beat;
}

}  // namespace muster::launcher
