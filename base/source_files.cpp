#include "base/source_files.h"

#include <fmt/core.h>

#include <cstdlib>

#include "base/error.h"

namespace muster {
namespace fs = std::filesystem;

namespace {

constexpr const char* kShare = "share/muster";

}  // namespace

fs::path executable_path() {
  std::error_code error;
  const fs::path path = fs::read_symlink("/proc/self/exe", error);
  return error ? fs::path("muster") : path;
}

std::optional<fs::path> installed_prefix() {
  fs::path prefix = executable_path().parent_path().parent_path();
  std::error_code ignored;
  if (!fs::is_directory(prefix / kShare, ignored)) return std::nullopt;
  return prefix;
}

std::optional<fs::path> shipped_path(const fs::path& relative) {
  std::error_code ignored;
  if (const auto prefix = installed_prefix()) {
    const fs::path path = *prefix / kShare / relative;
    return fs::exists(path, ignored) ? std::optional(path) : std::nullopt;
  }
  const fs::path start = executable_path().parent_path();
  for (fs::path folder = start; folder.has_relative_path(); folder = folder.parent_path())
    if (fs::exists(folder / relative, ignored)) return folder / relative;
  return std::nullopt;
}

fs::path given_or_shipped(const fs::path& path) {
  std::error_code ignored;
  if (path.empty() || path.is_absolute() || fs::exists(path, ignored)) return path;
  return shipped_path(path).value_or(path);
}

fs::path find_source_file(const fs::path& relative, const char* variable) {
  if (const char* named = std::getenv(variable); named != nullptr && *named != '\0') {
    if (fs::is_regular_file(named)) return named;
    throw UsageError(fmt::format("{}={}: no such file", variable, named));
  }
  if (fs::is_regular_file(relative)) return fs::absolute(relative);
  if (const auto shipped = shipped_path(relative)) return *shipped;
  const fs::path start = executable_path().parent_path();
  throw UsageError(fmt::format("{} was found neither in {} nor in {} and its parents; set {}",
                               relative.string(), fs::current_path().string(), start.string(),
                               variable));
}

}  // namespace muster
