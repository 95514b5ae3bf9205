// One start of the whole world, from mpirun's first instruction to its last orphan.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "base/process/signal_hub.h"
#include "launcher/rank/first_failure.h"
#include "launcher/supervise/launch_spec.h"
#include "launcher/supervise/run_owner.h"
#include "launcher/supervise/stop_request.h"

namespace muster::launcher {

enum class Ending { kDone, kStopped, kFailed, kHang, kNotStarted, kKilled };

enum class Reaction { kTornDown, kBlamesPeer, kFailedLater, kWaited };
const char* reaction_name(Reaction reaction);  // "torn down", "blames a peer", ...

struct CascadeRank {
  int rank = -1;
  Reaction why = Reaction::kWaited;
};

struct AttemptResult {
  Ending ending = Ending::kDone;
  int exit_code = 0;                    // what launch would return
  int starter_code = 0;                 // mpirun's or srun's own
  std::optional<FirstFailure> failure;  // of kFailed and kHang, when a rank can be named
  std::string what;                     // one sentence
  double seconds = 0;
  double noticed_unix = 0;               // when the launcher knew; 0 when nothing went wrong
  int orphans = 0;                       // processes that had to be ended after mpirun was gone
  std::optional<Hang> hang;              // of kHang: who, for how long, beyond which limit
  std::vector<CascadeRank> cascade;      // ranks that ended because of the first failure
  std::map<int, std::string> rank_host;  // of the ranks that reported, by rank
  // Host -> by how many seconds its clock is ahead of ours, where that is more than 2 s. Times in
  // the statuses of its ranks are ahead by as much.
  std::map<std::string, double> clock_offsets;
};

// Runs to the end of the world. Signals of `hub` are read into `request`.
// `owner`: when its run is taken over the world ends at once; may be nullptr.
AttemptResult run_attempt(const LaunchSpec& spec, int attempt, SignalHub& hub, StopRequest& request,
                          const RunOwner* owner);

}  // namespace muster::launcher
