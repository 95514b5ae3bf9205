// The plan as people read it: a table with bars.
#pragma once

#include <string>

#include "configs/config.h"
#include "launcher/plan/plan.h"

namespace muster::launcher {

// Who holds what on one rank, one line and bar each. `colour`: with terminal escapes.
std::string memory_table(const RunPlan& plan, bool colour = false);

// Parameter groups, memory, traffic, and whether it fits.
std::string format_plan(const RunPlan& plan, const configs::Config& config, bool colour);

}  // namespace muster::launcher
