// The two things that a page may do to a run, where `muster serve --writable` allows it.
#pragma once

#include <filesystem>
#include <string>

namespace muster::launcher {

// Asks the run's launcher, which must be on this machine, to checkpoint at the next step and leave.
// Returns what was done, as a sentence. Throws UsageError where no launcher of it runs here.
std::string ask_to_stop(const std::filesystem::path& run);

}  // namespace muster::launcher
