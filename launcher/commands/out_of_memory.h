// A rank that ran out of memory says who holds what before it leaves with 78.
#pragma once

#include <exception>
#include <filesystem>
#include <string>

#include "configs/config.h"

namespace muster::launcher {

// True for std::bad_alloc, for the device allocator's error, and for the host allocator's, which is
// an ordinary error with its own words.
bool is_out_of_memory(const std::exception& error);

// Returns one line: "out of memory in phase forward of step 12, micro-batch 1: ...".
std::string out_of_memory_line(const std::exception& error, const std::filesystem::path& run_dir,
                               int rank);

// Tells what this rank planned to hold, what it held, what the machine has left, and the settings
// that change it. Call it after the trainer is gone: it needs memory itself.
std::string memory_report(const configs::Config& config, int ranks);

}  // namespace muster::launcher
