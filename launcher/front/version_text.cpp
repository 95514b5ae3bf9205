#include "launcher/front/version_text.h"

#include <fmt/core.h>

#include <filesystem>

#include "base/error.h"
#include "base/machine.h"
#include "base/source_files.h"
#include "base/text.h"
#include "base/version.h"
#include "launcher/front/commit.h"
#include "launcher/runtime/libtorch.h"
#include "launcher/runtime/open_mpi.h"

namespace muster::launcher {
namespace {

std::string libtorch_line() {
  const auto prefix = installed_prefix();
  if (!prefix) return fmt::format("{}, as it was built", kLibTorchVersion);
  const LibTorchSearch search = find_libtorch(*prefix);
  if (search.found)
    return fmt::format("{} in {} (built against {})", search.found->version,
                       search.found->root.string(), kLibTorchVersion);
  return fmt::format("none here (built against {})", kLibTorchVersion);
}

std::string mpi_line() {
  const auto mpi = find_open_mpi(installed_prefix().value_or(""));
  if (!mpi) return "none here";
  const std::string version = library_version(*mpi);
  return version.empty() ? fmt::format("{} does not load", kMpiLibrary) : version;
}

std::string cuda_line() {
  if (*kCudaVersion == '\0') return "built without";
  return fmt::format("built with {}; {} GPUs here", kCudaVersion, this_machine().gpus);
}

// A mistake in an environment variable is told where its value would stand.
std::string or_reason(std::string (*line)()) {
  try {
    return line();
  } catch (const Error& error) {
    return error.what();
  }
}

}  // namespace

std::string version_text() {
  const std::string commit = *kCommit == '\0' ? "" : fmt::format(" (commit {})", kCommit);
  return fmt::format("muster {}{}\nLibTorch   {}\nMPI        {}\nCUDA       {}\nProcessor  {}",
                     kVersion, commit, or_reason(libtorch_line), or_reason(mpi_line), cuda_line(),
                     join(cpu_features(), " "));
}

}  // namespace muster::launcher
