// How far the clocks of the ranks' hosts are from this machine's, so that "first" means the same
// for all of them (law 15).
#pragma once

#include <map>
#include <string>
#include <utility>

#include "launcher/rank/rank_status.h"

namespace muster::launcher {

// A status is seen soon after the time it names, so the least difference of a host is its clock's,
// within the time between two looks. Offsets of up to 2 s are taken for that and for slow disks.
class HostClocks {
 public:
  // Call at each look, with our time of it; only what is new in a status counts.
  void see(const RankStatus& status, double now_unix);
  void correct(RankStatus& status) const;  // its times become ours

  // Host -> seconds ahead of us (negative: behind), of those that are more than 2 s off.
  std::map<std::string, double> offsets() const;

 private:
  std::map<std::string, double> ahead_;  // by host, the most seen
  std::map<std::pair<int, int>, double>
      newest_;  // (attempt, rank) -> the newest time in its status
};

}  // namespace muster::launcher
