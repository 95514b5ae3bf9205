// Memory that the ranks of one machine map. It has no name in any file system and goes with its
// last holder, however that one ends.
#pragma once

#include <cstddef>
#include <memory>
#include <span>

#include "sharding/collectives/collective.h"

namespace muster::sharding {

// [C] `bytes` of zeros for each `per_node` neighbours, which cost memory once they are touched.
// Null on every rank when one of them cannot map its own: the first of its neighbours is on another
// machine, in another PID namespace, or does not let it look at its files.
std::shared_ptr<std::span<std::byte>> map_shared(Collective& ranks, int per_node,
                                                 std::size_t bytes);

// Gives pages back to the system; every rank then reads zeros there. Whole pages only, what is cut
// off stays.
void release_pages(std::span<std::byte> part);

}  // namespace muster::sharding
