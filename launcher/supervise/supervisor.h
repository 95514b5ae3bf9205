// Starts the world, watches it, starts it again from the last checkpoint while that makes sense,
// and answers for all of it with one exit code: that of the rank that failed first.
#pragma once

#include <string>
#include <vector>

#include "launcher/supervise/attempt.h"
#include "launcher/supervise/launch_spec.h"
#include "launcher/supervise/run_owner.h"

namespace muster::launcher {

struct Change {
  int attempt = 0;   // from which on
  std::string what;  // a rung of the memory ladder, or hosts left out
};

struct LaunchResult {
  int exit_code = 0;
  std::vector<AttemptResult> attempts;
  std::vector<Change> changes;
};

// REQUIRES: the run folder exists; the calling thread is the only one that takes INT, TERM, HUP,
// USR1, USR2 and CHLD. Writes run_dir/launch.json (docs/launching.md) before and after every
// attempt.
// `owner`: of the run folder, which may be taken over; nullptr in tests that are alone with it.
LaunchResult supervise(const LaunchSpec& spec, const RunOwner* owner = nullptr);

}  // namespace muster::launcher
