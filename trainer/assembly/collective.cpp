#include "trainer/assembly/collective.h"

#include <fmt/core.h>

#include <chrono>

#include "base/error.h"
#include "base/process/fd.h"
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

}  // namespace muster::trainer
