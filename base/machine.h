// What this machine offers this process.
#pragma once

#include <cstdint>

namespace muster {

// Limits of a cgroup count.
struct Machine {
  int cores = 1;                  // may be used by this process
  std::int64_t memory_bytes = 0;  // free for it now
  int gpus = 0;
};
Machine this_machine();

}  // namespace muster
