#include "launcher/serve/inside.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <vector>

#include "base/text.h"

namespace muster::launcher {
namespace {

bool is_name(const std::string& part) {
  return !part.empty() && part != "." && part != ".." && part.find('\0') == std::string::npos;
}

// O_NONBLOCK: a pipe that nobody writes to must not hold the reader.
Fd open_next(const Fd& folder, const std::string& name, bool last) {
  const int kind = last ? O_NONBLOCK : O_DIRECTORY;
  return Fd(::openat(folder.get(), name.c_str(), O_RDONLY | O_NOFOLLOW | O_CLOEXEC | kind));
}

}  // namespace

std::optional<Fd> open_inside(const std::filesystem::path& folder, std::string_view relative) {
  const std::vector<std::string> parts = split(std::string(relative), '/');
  if (!std::ranges::all_of(parts, is_name)) return std::nullopt;
  Fd at(::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  for (std::size_t i = 0; i < parts.size() && at; ++i)
    at = open_next(at, parts[i], i + 1 == parts.size());
  struct stat status {};
  if (!at || ::fstat(at.get(), &status) != 0 || !S_ISREG(status.st_mode)) return std::nullopt;
  return at;
}

FileFacts facts_of(const Fd& file) {
  struct stat status {};
  if (::fstat(file.get(), &status) != 0) return {};
  return {status.st_ino, status.st_size};
}

std::string read_at(const Fd& file, std::int64_t offset, std::size_t most) {
  std::string bytes(most, '\0');
  std::size_t have = 0;
  while (have < most) {
    const ssize_t got = ::pread(file.get(), bytes.data() + have, most - have,
                                offset + static_cast<std::int64_t>(have));
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) break;
    have += static_cast<std::size_t>(got);
  }
  bytes.resize(have);
  return bytes;
}

std::optional<std::string> read_inside(const std::filesystem::path& folder,
                                       std::string_view relative, std::size_t most) {
  const std::optional<Fd> file = open_inside(folder, relative);
  if (!file) return std::nullopt;
  const std::int64_t bytes = facts_of(*file).bytes;
  if (bytes > static_cast<std::int64_t>(most)) return std::nullopt;
  return read_at(*file, 0, static_cast<std::size_t>(bytes));
}

}  // namespace muster::launcher
