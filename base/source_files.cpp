#include "base/source_files.h"

#include <fmt/core.h>

#include <cstdlib>

#include "base/error.h"

namespace muster {
namespace fs = std::filesystem;

fs::path executable_path() {
  std::error_code error;
  const fs::path path = fs::read_symlink("/proc/self/exe", error);
  return error ? fs::path("muster") : path;
}

fs::path find_source_file(const fs::path& relative, const char* variable) {
  if (const char* named = std::getenv(variable); named != nullptr && *named != '\0') {
    if (fs::is_regular_file(named)) return named;
    throw UsageError(fmt::format("{}={}: no such file", variable, named));
  }
  if (fs::is_regular_file(relative)) return fs::absolute(relative);
  const fs::path start = executable_path().parent_path();
  for (fs::path folder = start; folder.has_relative_path(); folder = folder.parent_path())
    if (fs::is_regular_file(folder / relative)) return folder / relative;
  throw UsageError(fmt::format("{} was found neither in {} nor in {} and its parents; set {}",
                               relative.string(), fs::current_path().string(), start.string(),
                               variable));
}

}  // namespace muster
