// The plan as a finding of preflight and doctor.
#pragma once

#include <vector>

#include "configs/config.h"
#include "launcher/doctor/judgements.h"

namespace muster::launcher {

// Does what `ranks_here` ranks of `ranks` hold fit the machine? States are exact: too much of them
// fails. Activations are an estimate: too much with them warns.
std::vector<Finding> examine_plan(const configs::Config& config, const NodeFacts& facts, int ranks,
                                  int ranks_here);

}  // namespace muster::launcher
