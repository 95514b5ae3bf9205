#include "base/process/fd.h"

#include <fcntl.h>
#include <fmt/core.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "base/error.h"
#include "base/fault.h"

namespace muster {
namespace {

[[noreturn]] void fail(const char* what, const std::filesystem::path& path) {
  throw IoError(fmt::format("cannot {} {}: {}", what, path.string(), std::strerror(errno)));
}

}  // namespace

Fd Fd::open(const std::filesystem::path& file, int flags, mode_t mode) {
  Fd opened(::open(file.c_str(), flags | O_CLOEXEC, mode));
  const bool writes = (flags & O_ACCMODE) != O_RDONLY;
  if (!opened) fail(writes ? "write" : "open", file);
  return opened;
}

Fd& Fd::operator=(Fd&& other) noexcept {
  std::swap(fd_, other.fd_);
  return *this;
}

void Fd::reset() noexcept {
  if (fd_ >= 0) ::close(fd_);
  fd_ = -1;
}

void Fd::close(const std::filesystem::path& name) {
  if (fd_ >= 0 && ::close(std::exchange(fd_, -1)) != 0) fail("close", name);
}

std::size_t write_until_done(int fd, std::string_view bytes) noexcept {
  std::size_t done = 0;
  while (done < bytes.size()) {
    const ssize_t n = ::write(fd, bytes.data() + done, bytes.size() - done);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) break;
    done += static_cast<std::size_t>(n);
  }
  return done;
}

void write_all(int fd, std::string_view bytes, const std::filesystem::path& file) {
  errno = fault::take_file_error();
  if (errno != 0 || write_until_done(fd, bytes) < bytes.size()) fail("write", file);
}

void fsync_path(const std::filesystem::path& path) {
  const Fd file = Fd::open(path, O_RDONLY);
  if (::fsync(file.get()) != 0) fail("fsync", path);
}

}  // namespace muster
