// Files that belong to the source tree and are used at run time: DEBUG_DIARY.md and
// slurm/train.sbatch.
#pragma once

#include <filesystem>
#include <string>

namespace muster {

std::filesystem::path executable_path();

// The first that exists: $`variable`, the current folder, the executable's folder and its parents.
// Throws UsageError naming all places tried.
std::filesystem::path find_source_file(const std::filesystem::path& relative, const char* variable);

}  // namespace muster
