// Which rank failed first, and therefore why the world ended. Pure: statuses and black boxes in,
// one rank out.
#pragma once

#include <optional>
#include <span>
#include <string>

#include "base/flight_recorder.h"
#include "launcher/rank/rank_status.h"

namespace muster::launcher {

struct RankEvidence {
  RankStatus status;
  std::optional<FlightEvent> last;  // newest event of its black box
};

struct FirstFailure {
  RankEvidence rank;
  double time_unix = 0;  // its own words or its end, whichever came first
  std::string what;      // one sentence
};

// Ranks that were torn down, or that say a peer failed first, are blamed only when nobody else can
// be. Code 75 is no failure; code 0 is one only when the rank never reached its end.
std::optional<FirstFailure> first_failure(std::span<const RankEvidence> ranks);

// "rank 1 on node17 was killed by SIGKILL in phase reduce of step 12, collective 96"
std::string describe_end(const RankEvidence& rank);

// launch's exit code for a rank's: documented codes (base/error.h) pass, anything else is 70.
int exit_code_for(const RankStatus& status);

}  // namespace muster::launcher
