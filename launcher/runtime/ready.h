// Makes an installed muster ready to become muster-torch: with LibTorch and MPI where the loader
// finds them. A program that lies where it was built knows its libraries' places and needs nothing.
#pragma once

#include <string>

#include "base/process/spawn.h"

namespace muster::launcher {

// The environment that muster-torch and its ranks start with; empty for a program that lies where
// it was built. What no place has is fetched. Throws PreflightError when it cannot be had.
Environment runtime_environment();

// Sets that environment on this process.
void make_ready();

// Whether make_ready() would have nothing to fetch.
bool is_ready();

}  // namespace muster::launcher
