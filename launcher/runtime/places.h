// Where an installed muster looks for what it does not bring along: the active Python's packages,
// and a cache of what was fetched.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

namespace muster::launcher {

// Returns the value of an environment variable; "" when it is not set.
std::string environment_value(const char* name);

// Returns the folder for everything fetched: $MUSTER_CACHE, else muster in $XDG_CACHE_HOME or
// ~/.cache. Throws PreflightError when no variable names a home.
std::filesystem::path cache_folder();

// Returns the first file of this name in the folders of PATH.
std::optional<std::filesystem::path> program_in_path(const std::string& name);

// Whether a program started now would find a library of this name. Loading it to see would cost
// milliseconds, and keep it.
bool loader_finds(const std::string& library);

// Returns the environments that may hold Python packages, the most specific first: the one that
// `prefix` itself was installed into, $VIRTUAL_ENV, $CONDA_PREFIX.
std::vector<std::filesystem::path> python_environments(const std::filesystem::path& prefix);

// Returns the existing site-packages of an environment.
std::vector<std::filesystem::path> site_packages(const std::filesystem::path& environment);

}  // namespace muster::launcher
