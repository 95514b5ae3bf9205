// c10d's store with a door: c10d's own TCPStore listens on every address of the machine and answers
// anybody, down to a list of its keys. This one listens on the announced address alone and closes
// who does not say the run's token first.
#pragma once

#include <c10/util/intrusive_ptr.h>

#include <chrono>

#include "sharding/collectives/collective.h"

namespace c10d {
class Store;
}

namespace muster::sharding {

// Rank 0 serves it for as long as its own store lives. Throws CollectiveError when it cannot be
// reached within `timeout`.
c10::intrusive_ptr<c10d::Store> make_token_store(const StoreAddress& address, int rank,
                                                 std::chrono::milliseconds timeout);

}  // namespace muster::sharding
