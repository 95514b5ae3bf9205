// Faults on request, for tests: MUSTER_FAULT="rank=1,step=7,phase=backward,what=sigkill". Only a
// build with -DMUSTER_FAULTS=ON has them; in any other these functions do nothing and the variable
// is not looked at. docs/reliability.md lists the words.
#pragma once

#include <cstdint>

#include "base/phase.h"

namespace muster::fault {

// Whether this build has them.
bool compiled() noexcept;

// Called behind every event of the flight recorder: the process fails here when it is to. Throws
// UsageError for a MUSTER_FAULT that says nothing sensible.
void at(Phase phase, int rank, std::int64_t step);

// True once, when a loss is to become NaN.
bool take_nan() noexcept;
// Once the errno that writing a file is to fail with; else 0.
int take_file_error() noexcept;
// By how much this process takes the wall clock to be ahead.
std::int64_t clock_ahead_ns() noexcept;

}  // namespace muster::fault
