// Files that systems and editors leave between those of a data set.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "data/sources/file_list.h"

namespace muster::data {

// macOS' "._*", ".DS_Store" and "__MACOSX", Windows' "Thumbs.db" and "desktop.ini", and everything
// else that is hidden (".ipynb_checkpoints").
bool is_junk(const std::filesystem::path& path);

// Files directly in or below `folder` for which `wanted` holds, sorted; junk is left out. Throws
// DataError when there is no such folder.
FileList list_files(const std::filesystem::path& folder,
                    bool (*wanted)(const std::filesystem::path&));
// The same of the folder itself only; empty when there is none.
FileList files_in(const std::filesystem::path& folder,
                  bool (*wanted)(const std::filesystem::path&));
// The folders directly in `folder`, sorted, without junk; empty when there are none.
std::vector<std::filesystem::path> folders_in(const std::filesystem::path& folder);

}  // namespace muster::data
