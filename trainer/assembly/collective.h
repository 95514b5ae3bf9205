// The collective that joins a run's ranks.
#pragma once

#include <memory>
#include <string>

#include "configs/config.h"
#include "sharding/collectives/collective.h"

namespace muster::trainer {

// A rank's place in its world, and where ranks find each other when the backend needs that.
struct RankPlace {
  int rank = 0, world_size = 1;
  sharding::StoreAddress store;
};

// [C] The collective that sharding.backend names; `self` for a world of one. ConfigError when it
// cannot join this world, CollectiveError when the ranks do not find each other.
std::shared_ptr<sharding::Collective> make_collective(const configs::Config& config,
                                                      const RankPlace& place);

}  // namespace muster::trainer
