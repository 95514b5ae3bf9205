// The simulation as a page: bars per world, and the two lanes of a step on each.
#pragma once

#include <string>
#include <vector>

#include "launcher/plan/simulation.h"

namespace muster::launcher {

// One HTML page without scripts.
std::string draw_simulation(const std::vector<SimulatedRun>& runs, const ClusterModel& cluster,
                            const std::string& title);

}  // namespace muster::launcher
