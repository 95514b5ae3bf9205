#include "data/sources/junk.h"

#include <fmt/core.h>

#include <algorithm>

#include "base/error.h"
#include "base/files.h"
#include "data/sources/parse/encoding.h"

namespace muster::data {

bool is_junk(const fs::path& path) {
  const std::string name = path.filename().string();
  const std::string lower = lower_case(name);
  return name.starts_with('.') || name == "__MACOSX" || lower == "thumbs.db" ||
         lower == "desktop.ini";
}

FileList list_files(const fs::path& folder, bool (*wanted)(const fs::path&)) {
  FileList files(folder);
  if (!fs::is_directory(folder))
    throw DataError(fmt::format("{}: no such folder", folder.string()));
  constexpr auto kFollow = fs::directory_options::follow_directory_symlink |
                           fs::directory_options::skip_permission_denied;
  constexpr int kMostLevels = 32;  // a link to a folder above would never end
  for (fs::recursive_directory_iterator at(folder, kFollow), end; at != end; ++at) {
    const fs::path& path = at->path();
    const bool junk = is_junk(path);
    std::error_code error;
    if (at->is_directory(error)) {
      if (junk || at.depth() >= kMostLevels) at.disable_recursion_pending();
    } else if (!junk && at->is_regular_file(error) && wanted(path)) {
      files.add(path);
    }
  }
  files.sort();
  return files;
}

FileList files_in(const fs::path& folder, bool (*wanted)(const fs::path&)) {
  FileList files(folder);
  std::error_code error;
  if (!fs::is_directory(folder, error)) return files;
  for (const auto& entry : fs::directory_iterator(folder))
    if (!is_junk(entry.path()) && entry.is_regular_file(error) && wanted(entry.path()))
      files.add(entry.path());
  files.sort();
  return files;
}

std::vector<fs::path> folders_in(const fs::path& folder) {
  std::vector<fs::path> folders;
  std::error_code error;
  if (!fs::is_directory(folder, error)) return folders;
  for (const auto& entry : fs::directory_iterator(folder))
    if (!is_junk(entry.path()) && entry.is_directory(error)) folders.push_back(entry.path());
  std::sort(folders.begin(), folders.end());
  return folders;
}

}  // namespace muster::data
