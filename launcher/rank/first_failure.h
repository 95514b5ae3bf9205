// Which rank failed first, and therefore why the world ended. This is the one decision behind
// launch's exit code, the headline of triage and what status says of a run that failed.
#pragma once

#include <filesystem>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <vector>

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

// Ranks that somebody ended (torn_down) are never blamed, unless they had said before what went
// wrong with them. Ranks that only react are blamed when nobody else can be: those that say a peer
// failed first, those that got signal 15, and the `cascades`, whose logs the diary takes for a
// reaction. Of the others the earliest failed first. Pure.
std::optional<FirstFailure> first_failure(std::span<const RankEvidence> ranks,
                                          const std::set<int>& cascades = {});

// It ended, and not as a rank does that is done (code 0 behind phase `done`) or that stopped on
// request (code 75). True for ranks that were torn down, too.
bool ended_badly(const RankEvidence& rank);
// It ended with code 0 although its black box never reached phase `done`.
bool left_early(const RankEvidence& rank);

// When it failed, in seconds since 1970: its own words come before its end, because tearing down
// takes time. REQUIRES: it ended.
double failure_time(const RankStatus& status);

// "rank 1 on node17 was killed by signal 9 (KILL) in phase reduce of step 12, collective 96"
std::string describe_end(const RankEvidence& rank);

// launch's exit code for a rank's: documented codes (base/error.h) pass, anything else is 70.
int exit_code_for(const RankStatus& status);

// The statuses of the ranks 0 .. ranks-1 as far as they are of this attempt, each with the newest
// event of its black box, which is of this attempt, too: older ones were moved away before it.
std::vector<RankEvidence> read_rank_evidence(const std::filesystem::path& run_dir, int ranks,
                                             int attempt);

// What was told by beats, and what wrappers left in the run folder: a rank's end is believed
// whoever says it, and the file says it in full. By rank.
std::vector<RankEvidence> merge_evidence(std::vector<RankEvidence> told,
                                         std::vector<RankEvidence> kept);

}  // namespace muster::launcher
