// Is the world still moving? Judged by what the ranks' wrappers say (beat_board.h), by the rank
// with the least progress: peers that wait for it in a collective are silent too, but they are not
// the cause.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/flight_recorder.h"

namespace muster::launcher {

struct PhaseLimits {        // seconds of silence
  double start_s = 0;       // until the first optimizer step of this attempt is done
  double step_s = 0;        // from then on
  double checkpoint_s = 0;  // while loading, evaluating, writing a checkpoint, or leaving
};

// One rank as seen at one moment.
struct RankBeat {
  int rank = -1;
  bool present = false;       // this attempt's black box is there
  bool ended = false;         // its wrapper said so
  std::uint64_t written = 0;  // events so far
  FlightEvent last;
  std::int64_t first_step = -1;
  std::int64_t pid = 0;
  std::string host;
  // The state of its process: 'T' is stopped, 'D' waits for a disk. 0 is unknown.
  char state = 0;
  // How long the rank had recorded nothing when its wrapper said this, measured beside the rank; -1
  // when nobody said. No clock of another machine is compared with ours (law 15).
  double silent_s = -1;
  double told_s = 0;   // when that arrived, on the monitor's clock; 0: never
  double heard_s = 0;  // when it last changed, on the monitor's own clock; set by observe()
};

struct Hang {
  RankBeat culprit;
  double silent_s = 0;
  double limit_s = 0;
  bool wrapper_silent = false;  // nothing comes from its wrapper either: a host or a link is lost
};

// A beat is due every second. What is later than this is not held against the rank, but against its
// host and the way to it.
inline constexpr double kLateBeat_s = 5;

double silence_limit(const RankBeat& beat, bool started, const PhaseLimits& limits);

// Negative, zero, positive: has `a` done less than, as much as, more than `b`? By step, collective,
// micro step, phase; a stopped process, then the one silent for longer, loses a tie.
int compare_progress(const RankBeat& a, const RankBeat& b);

// Silence is measured on this machine's monotonic clock, so clocks of other machines need not
// agree.
class HeartbeatMonitor {
 public:
  HeartbeatMonitor(int world_size, const PhaseLimits& limits, double now_s);
  std::optional<Hang> observe(std::span<const RankBeat> beats, double now_s);

 private:
  struct Seen {
    std::uint64_t written = 0;
    double at_s = 0;
    bool started = false;
  };
  static void update(Seen& seen, const RankBeat& beat, double now_s);
  static double silence(const Seen& seen, const RankBeat& beat, double now_s);

  PhaseLimits limits_;
  std::vector<Seen> seen_;  // per rank
  double observed_s_;
};

// Of a black box as it is now. `host`: the name of this machine; a process of another one has no
// state.
RankBeat read_beat(const std::filesystem::path& box, int rank, const std::string& host);

}  // namespace muster::launcher
