#include "launcher/runtime/places.h"

#include <algorithm>
#include <cstdlib>

#include "base/error.h"
#include "base/files.h"
#include "base/text.h"

namespace muster::launcher {
namespace {

// A wheel puts the tree into ENVIRONMENT/lib/python3.X/site-packages/muster/program.
std::optional<fs::path> environment_around(const fs::path& prefix) {
  for (fs::path folder = prefix; folder.has_relative_path(); folder = folder.parent_path())
    if (folder.filename() == "site-packages")
      return folder.parent_path().parent_path().parent_path();
  return std::nullopt;
}

}  // namespace

std::string environment_value(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? "" : value;
}

fs::path cache_folder() {
  if (std::string named = environment_value("MUSTER_CACHE"); !named.empty()) return named;
  if (const std::string caches = environment_value("XDG_CACHE_HOME"); !caches.empty())
    return fs::path(caches) / "muster";
  if (const std::string home = environment_value("HOME"); !home.empty())
    return fs::path(home) / ".cache" / "muster";
  throw PreflightError("no folder for what is fetched: set HOME or MUSTER_CACHE");
}

std::optional<fs::path> program_in_path(const std::string& name) {
  std::error_code ignored;
  for (const std::string& folder : split(environment_value("PATH"), ':')) {
    fs::path file = fs::path(folder) / name;
    if (!folder.empty() && fs::is_regular_file(file, ignored)) return file;
  }
  return std::nullopt;
}

bool loader_finds(const std::string& library) {
  std::error_code ignored;
  for (const std::string& folder : split(environment_value("LD_LIBRARY_PATH"), ':'))
    if (!folder.empty() && fs::exists(fs::path(folder) / library, ignored)) return true;
  const fs::path cache = "/etc/ld.so.cache";  // names are zero-terminated strings in it
  return fs::is_regular_file(cache, ignored) && read_text(cache).find(library) != std::string::npos;
}

std::vector<fs::path> python_environments(const fs::path& prefix) {
  std::vector<fs::path> all;
  if (const auto around = environment_around(prefix)) all.push_back(*around);
  for (const char* variable : {"VIRTUAL_ENV", "CONDA_PREFIX"})
    if (const std::string folder = environment_value(variable); !folder.empty())
      all.emplace_back(folder);
  return all;
}

std::vector<fs::path> site_packages(const fs::path& environment) {
  std::vector<fs::path> found;
  std::error_code ignored;
  for (const auto& entry : fs::directory_iterator(environment / "lib", ignored)) {
    const fs::path packages = entry.path() / "site-packages";
    if (entry.path().filename().string().starts_with("python3") && fs::is_directory(packages))
      found.push_back(packages);
  }
  std::ranges::sort(found);  // the folder's order is arbitrary
  return found;
}

}  // namespace muster::launcher
