#include "trainer/assembly/collective.h"

#include <fmt/core.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <climits>
#include <set>
#include <vector>

#include "base/error.h"
#include "base/process/fd.h"
#include "sharding/collectives/texts.h"
#include "sharding/cuda_library.h"

namespace muster::trainer {
namespace {

std::unique_ptr<sharding::Collective> connect(const configs::Config& config,
                                              const RankPlace& place) {
  using enum configs::Backend;
  const configs::Backend backend = config.sharding.backend;
  const std::chrono::duration<double> timeout(config.sharding.timeout_s);
  // No store is served: nothing listens then.
  const bool uses_store = backend == kNccl || (backend == kGloo && place.world_size > 1);
  const Fd unused(uses_store ? -1 : place.store.listener);
  if (backend == kNccl) {
    return sharding::load_cuda_library().make_nccl(place.store, place.rank, place.world_size,
                                                   timeout);
  }
  if (place.world_size == 1) return sharding::make_self();
  if (config.run.device == configs::Device::kCuda) {
    throw ConfigError(fmt::format(
        "sharding.backend {} cannot join {} ranks whose gradients lie on GPUs; use nccl",
        configs::name_of(backend), place.world_size));
  }
  if (backend == kMpi) return sharding::make_node(sharding::make_mpi(timeout), timeout);
  if (backend == kGloo) {
    return sharding::make_gloo(place.store, place.rank, place.world_size, timeout);
  }
  throw ConfigError(fmt::format("sharding.backend {} cannot join {} ranks; use mpi, gloo or nccl",
                                configs::name_of(backend), place.world_size));
}

}  // namespace

std::shared_ptr<sharding::Collective> make_collective(const configs::Config& config,
                                                      const RankPlace& place) {
  auto collective = connect(config, place);
  return config.sharding.checked ? sharding::make_checked(std::move(collective))
                                 : std::move(collective);
}

int ranks_per_node(sharding::Collective& collective) {
  char host[HOST_NAME_MAX + 1] = {};
  ::gethostname(host, sizeof host - 1);
  const std::vector<std::string> hosts = sharding::gather_texts(collective, host);  // [C]
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

}  // namespace muster::trainer
