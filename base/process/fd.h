// File descriptors: owned by one object, written until done, with the system's reason in the error.
#pragma once

#include <sys/types.h>

#include <cstddef>
#include <filesystem>
#include <string_view>
#include <utility>

namespace muster {

// Owns a file descriptor; -1 is none.
class Fd {
 public:
  Fd() = default;
  explicit Fd(int fd) : fd_(fd) {}
  // Close-on-exec; who may read and write a new file is the umask's choice. Throws IoError "cannot
  // open FILE: reason".
  static Fd open(const std::filesystem::path& file, int flags, mode_t mode = 0666);
  ~Fd() { reset(); }
  Fd(Fd&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  Fd& operator=(Fd&& other) noexcept;

  int get() const { return fd_; }
  explicit operator bool() const { return fd_ >= 0; }
  void reset() noexcept;  // closes, and does not ask how that went
  // Closes; some file systems tell only now that a write failed. Throws IoError with `name`.
  void close(const std::filesystem::path& name);

 private:
  int fd_ = -1;
};

// How many of the bytes were written: fewer than all when the system refuses, and errno says why.
std::size_t write_until_done(int fd, std::string_view bytes) noexcept;

// Throws IoError "cannot write FILE: reason".
void write_all(int fd, std::string_view bytes, const std::filesystem::path& file);

void fsync_path(const std::filesystem::path& path);  // of a file or a folder; throws IoError

}  // namespace muster
