// Which program starts the ranks, and what it calls itself: words differ between Open MPI 4, 5 and
// srun.
#pragma once

#include <string>

#include "launcher/supervise/launch_spec.h"

namespace muster::launcher {

// Asks `program` for its version. srun is srun by its kind; anything else is an mpirun.
Starter ask_starter(const std::string& program, bool srun);

}  // namespace muster::launcher
