// At the end of a launch what went wrong is explained, and a batch job is given back to the queue
// when that helps.
#pragma once

#include <filesystem>

namespace muster::launcher {

// Launch does this last. It prints the triage of a failure that nobody asked for to stderr and
// writes it to logs/triage.txt; an explanation that fails is a warning. In a batch job that is
// requeued SLURM may end this process here. Returns `exit_code`.
int conclude(const std::filesystem::path& run_dir, int exit_code);

}  // namespace muster::launcher
