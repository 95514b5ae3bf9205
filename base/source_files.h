// Files that muster ships and uses at run time, by their path in the source tree: DEBUG_DIARY.md,
// slurm/train.sbatch, configs/. A built program finds them in the tree above it, an installed one
// in share/muster beside its bin.
#pragma once

#include <filesystem>
#include <optional>
#include <string>

namespace muster {

std::filesystem::path executable_path();

// The folder of an installed muster that holds bin and share/muster; nothing for a program that
// lies where it was built.
std::optional<std::filesystem::path> installed_prefix();

// The shipped file or folder, looked for around the executable alone; nothing when there is none.
std::optional<std::filesystem::path> shipped_path(const std::filesystem::path& relative);

// `path` when it exists or is absolute; else what is shipped under this name; else `path`.
std::filesystem::path given_or_shipped(const std::filesystem::path& path);

// The first that exists: $`variable`, the current folder, what is shipped. Throws UsageError naming
// all places tried.
std::filesystem::path find_source_file(const std::filesystem::path& relative, const char* variable);

}  // namespace muster
