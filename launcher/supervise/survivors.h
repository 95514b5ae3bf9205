// Which machines of a run still answer, and the run without the others.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <vector>

#include "launcher/supervise/attempt.h"
#include "launcher/supervise/launch_spec.h"

namespace muster::launcher {

// Returns the hosts with the slots a restart may fill: launch.hosts, else what the ranks of the
// attempt said about where they were.
std::vector<Host> hosts_in_use(const LaunchSpec& spec, const AttemptResult& ended);

// Starts `true` on each host through mpirun or srun, all at once, and waits at most 20 s. Returns
// the names of those where that failed, but none when it failed everywhere: then the fault is not a
// host's.
std::vector<std::string> silent_hosts(const LaunchSpec& spec, std::span<const Host> hosts);

// Returns the spec without `lost`, on fewer ranks when they do not fit otherwise. Returns nothing
// when fewer than min_ranks would be left or no count divides G. Pure.
std::optional<LaunchSpec> shrink(const LaunchSpec& spec, std::span<const Host> hosts,
                                 std::span<const std::string> lost);

}  // namespace muster::launcher
