// Files of a folder, by names that come from a request: nothing outside the folder is ever opened,
// whatever the name says and whatever links lie in the folder.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>

#include "base/process/fd.h"

namespace muster::launcher {

// A plain file below `folder`, opened for reading. Every part of `relative` is a name: neither "",
// nor "." or "..", nor a link. Nothing when there is no such file.
std::optional<Fd> open_inside(const std::filesystem::path& folder, std::string_view relative);

struct FileFacts {
  std::uint64_t inode = 0;
  std::int64_t bytes = 0;
};
FileFacts facts_of(const Fd& file);

// At most `most` bytes from `offset` on; fewer at the end of the file, or when it cannot be read.
std::string read_at(const Fd& file, std::int64_t offset, std::size_t most);

// The whole file; nothing when it is not there or larger than `most`.
std::optional<std::string> read_inside(const std::filesystem::path& folder,
                                       std::string_view relative, std::size_t most);

}  // namespace muster::launcher
