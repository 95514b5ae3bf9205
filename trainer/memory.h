// This process's memory, as the system counts it.
#pragma once

#include <cstdint>

namespace muster::trainer {

std::int64_t resident_bytes();        // now
std::int64_t peak_resident_bytes();   // since the start
void release_free_memory();           // gives the allocator's free pages back (epoch ends; FAILURES M-003)

}  // namespace muster::trainer
