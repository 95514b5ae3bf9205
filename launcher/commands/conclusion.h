// At the end of a launch it is said what is best, where it is and what to do next; what went wrong
// is explained, and a batch job is given back to the queue when that helps.
#pragma once

#include <filesystem>
#include <string>

namespace muster::launcher {

// Three lines: the best evaluation, where its checkpoint is, what to do next. "" when the run left
// no checkpoint.
std::string achievement(const std::filesystem::path& run_dir);

// Launch does this last. After a run that is done it prints its achievement to stderr. It prints
// the triage of a failure that nobody asked for to stderr and writes it to logs/triage.txt; an
// explanation that fails is a warning. In a batch job that is requeued SLURM may end this process
// here. Returns `exit_code`.
int conclude(const std::filesystem::path& run_dir, int exit_code);

}  // namespace muster::launcher
