#include "launcher/runtime/open_mpi.h"

#include <dlfcn.h>
#include <fmt/core.h>

#include <array>

#include "base/error.h"
#include "base/files.h"
#include "base/text.h"
#include "launcher/runtime/places.h"

namespace muster::launcher {
namespace {

constexpr const char* kMpiVariable = "MUSTER_MPI";

// A library alone starts no ranks. A process that is a rank already needs no more than it.
bool something_starts_ranks() {
  for (const char* rank : {"OMPI_COMM_WORLD_RANK", "PMIX_RANK"})
    if (!environment_value(rank).empty()) return true;
  return program_in_path("mpirun") || program_in_path("srun");
}

// The library of an mpirun lies beside it, or where the loader looks.
std::optional<OpenMpi> of_path() {
  const auto program = program_in_path("mpirun");
  if (!program) return std::nullopt;
  std::error_code ignored;
  const fs::path real = fs::canonical(*program, ignored);
  for (const fs::path& bin : {program->parent_path(), real.parent_path()})
    for (const char* lib : {"lib", "lib64"})
      if (fs::exists(bin.parent_path() / lib / kMpiLibrary, ignored))
        return OpenMpi{{}, bin.parent_path() / lib};
  return std::nullopt;
}

}  // namespace

std::optional<OpenMpi> open_mpi_in(const fs::path& folder) {
  std::error_code ignored;
  for (const fs::path& root :
       {folder, folder / fmt::format("openmpi-{}.data/data", kOpenMpiVersion)})
    for (const char* lib : {"lib", "lib64"})
      if (fs::exists(root / "bin" / "mpirun", ignored) &&
          fs::exists(root / lib / kMpiLibrary, ignored))
        return OpenMpi{fs::absolute(root / "bin"), fs::absolute(root / lib)};
  return std::nullopt;
}

std::optional<OpenMpi> find_open_mpi(const fs::path& prefix) {
  if (const std::string named = environment_value(kMpiVariable); !named.empty()) {
    if (const auto mpi = open_mpi_in(named)) return mpi;
    throw PreflightError(
        fmt::format("{}={}: no bin/mpirun with lib/{} there", kMpiVariable, named, kMpiLibrary));
  }
  if (const auto mpi = of_path()) return mpi;
  if (loader_finds(kMpiLibrary) && something_starts_ranks()) return OpenMpi{};
  for (const fs::path& environment : python_environments(prefix))
    if (const auto mpi = open_mpi_in(environment)) return mpi;
  return open_mpi_in(cached_open_mpi());
}

std::string library_version(const OpenMpi& mpi) {
  const fs::path file = mpi.lib / kMpiLibrary;
  void* library = ::dlopen(file.c_str(), RTLD_LAZY | RTLD_GLOBAL);
  if (library == nullptr) return "";
  using Version = int (*)(char*, int*);
  const auto version = reinterpret_cast<Version>(::dlsym(library, "MPI_Get_library_version"));
  if (version == nullptr) return "";
  std::array<char, 256> text{};  // MPI_MAX_LIBRARY_VERSION_STRING of Open MPI
  int length = 0;
  version(text.data(), &length);
  const std::string whole = text.data();
  return whole.substr(0, whole.find('\n'));
}

fs::path cached_open_mpi() { return cache_folder() / fmt::format("openmpi-{}", kOpenMpiVersion); }

}  // namespace muster::launcher
