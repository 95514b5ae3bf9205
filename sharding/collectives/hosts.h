// Which ranks are on one machine.
#pragma once

#include "sharding/collectives/collective.h"

namespace muster::sharding {

// [C] How many ranks each machine has, when each has equally many and they are next to each other;
// else 1. Machines are told apart by their host names.
int ranks_per_node(Collective& collective);

}  // namespace muster::sharding
