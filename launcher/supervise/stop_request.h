// What people and the scheduler asked of a launch by signals, across its attempts.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>

#include "base/process/signal_hub.h"

namespace muster::launcher {

struct StopRequest {
  bool stop = false;  // checkpoint at the next step boundary and leave
  bool kill = false;  // now
  int signal = 0;     // which one asked for the stop
  std::chrono::steady_clock::time_point since{};
};

enum class NewRequest { kNone, kStop, kKill };

// Reads all waiting signals into `request` and says what is newly asked for. The first INT, any
// TERM, HUP, USR1 or USR2 ask for a stop; a further INT kills. One press of Ctrl-C may arrive more
// than once, from the terminal and from whoever passes it on: INTs within 0.3 s are one.
NewRequest take_signals(SignalHub& hub, StopRequest& request);

// The one line that is shown when a stop is asked for while ranks run. `newest_checkpoint`: a step,
// or -1 when there is none.
std::string describe_stop(const StopRequest& request, std::int64_t newest_checkpoint);

// "step 40", or "the start" when there is no checkpoint.
std::string since_what(std::int64_t newest_checkpoint);

}  // namespace muster::launcher
