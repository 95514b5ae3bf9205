// What `muster --version` prints: enough to tell two machines apart.
#pragma once

#include <string>

namespace muster::launcher {

// "muster 0.2.0 (commit 2930fcd)" and a line each for LibTorch, MPI, CUDA and the processor. Loads
// no LibTorch and fetches nothing.
std::string version_text();

}  // namespace muster::launcher
