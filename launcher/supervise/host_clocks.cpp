#include "launcher/supervise/host_clocks.h"

#include <algorithm>
#include <cmath>

namespace muster::launcher {
namespace {

constexpr double kAgree_s = 2;

double newest_time(const RankStatus& status) {
  return std::max({status.start_unix, status.end_unix, status.error_unix});
}

}  // namespace

void HostClocks::see(const RankStatus& status, double now_unix) {
  const double said = newest_time(status);
  double& known = newest_[{status.attempt, status.rank}];
  if (said == known) return;
  known = said;
  const double ahead = said - now_unix;
  const auto [host, is_new] = ahead_.try_emplace(status.host, ahead);
  if (!is_new) host->second = std::max(host->second, ahead);
}

void HostClocks::correct(RankStatus& status) const {
  const auto host = ahead_.find(status.host);
  if (host == ahead_.end() || std::abs(host->second) <= kAgree_s) return;
  for (double* time : {&status.start_unix, &status.end_unix, &status.error_unix})
    if (*time > 0) *time -= host->second;
}

std::map<std::string, double> HostClocks::offsets() const {
  std::map<std::string, double> off;
  for (const auto& [host, ahead] : ahead_)
    if (std::abs(ahead) > kAgree_s) off[host] = ahead;
  return off;
}

}  // namespace muster::launcher
