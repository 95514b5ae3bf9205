#include "sharding/collectives/hosts.h"

#include <unistd.h>

#include <algorithm>
#include <climits>
#include <set>
#include <string>
#include <vector>

#include "sharding/collectives/texts.h"

namespace muster::sharding {

int ranks_per_node(Collective& collective) {
  char host[HOST_NAME_MAX + 1] = {};
  ::gethostname(host, sizeof host - 1);
  const std::vector<std::string> hosts = gather_texts(collective, host);  // [C]
  const auto other = std::ranges::find_if(hosts, [&](const auto& h) { return h != hosts[0]; });
  const auto near = static_cast<std::size_t>(other - hosts.begin());
  std::set<std::string> seen;
  for (std::size_t first = 0; first < hosts.size(); first += near) {
    const auto is_first = [&](const auto& h) { return h == hosts[first]; };
    if (first + near > hosts.size() || !seen.insert(hosts[first]).second ||
        !std::all_of(hosts.begin() + first, hosts.begin() + first + near, is_first))
      return 1;
  }
  return static_cast<int>(near);
}

}  // namespace muster::sharding
