// This process's memory, as the system counts it.
#pragma once

#include <cstdint>

namespace muster {

std::int64_t resident_bytes();       // now
std::int64_t peak_resident_bytes();  // since the program started
std::int64_t heap_bytes();  // handed out and not given back, by malloc or for large tensors

}  // namespace muster
