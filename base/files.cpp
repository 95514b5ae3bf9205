#include "base/files.h"

#include <fcntl.h>
#include <fmt/core.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xxhash.h>

#include <algorithm>
#include <cctype>
#include <cerrno>
#include <cstring>
#include <utility>
#include <vector>

#include "base/error.h"

namespace muster {
namespace {

[[noreturn]] void fail(const char* what, const fs::path& path) {
  throw IoError(fmt::format("cannot {} {}: {}", what, path.string(), std::strerror(errno)));
}

// Owns a file descriptor.
struct Fd {
  int fd;
  Fd(const fs::path& path, int flags, mode_t mode, const char* what)
      : fd(::open(path.c_str(), flags | O_CLOEXEC, mode)) {
    if (fd < 0) fail(what, path);
  }
  ~Fd() { ::close(fd); }
  Fd(const Fd&) = delete;
  Fd& operator=(const Fd&) = delete;
};

std::string to_hex(XXH128_hash_t hash) {
  return fmt::format("{:016x}{:016x}", hash.high64, hash.low64);
}

}  // namespace

std::string lower_extension(const fs::path& path) {
  std::string extension = path.extension().string();
  std::transform(extension.begin(), extension.end(), extension.begin(),
                 [](unsigned char c) { return std::tolower(c); });
  return extension;
}

std::string read_text(const fs::path& path) {
  const MappedFile file(path);
  return {reinterpret_cast<const char*>(file.bytes().data()), file.bytes().size()};
}

void write_text(const fs::path& path, std::string_view text) {
  const fs::path part = path.string() + ".part";
  {
    const Fd out(part, O_WRONLY | O_CREAT | O_TRUNC, 0644, "write");
    for (std::size_t done = 0; done < text.size();) {
      const ssize_t n = ::write(out.fd, text.data() + done, text.size() - done);
      if (n < 0 && errno == EINTR) continue;
      if (n < 0) fail("write", part);
      done += static_cast<std::size_t>(n);
    }
    if (::fsync(out.fd) != 0) fail("fsync", part);
  }
  if (::rename(part.c_str(), path.c_str()) != 0) fail("rename onto", path);
  fsync_path(path.has_parent_path() ? path.parent_path() : fs::path("."));
}

void fsync_path(const fs::path& path) {
  const Fd file(path, O_RDONLY, 0, "open");
  if (::fsync(file.fd) != 0) fail("fsync", path);
}

std::string xxh128(std::span<const std::byte> bytes) {
  return to_hex(XXH3_128bits(bytes.data(), bytes.size()));
}

std::string xxh128_file(const fs::path& path) { return xxh128(MappedFile(path).bytes()); }

MappedFile::MappedFile(const fs::path& path) : path_(path) {
  const Fd file(path, O_RDONLY, 0, "open");
  struct stat info {};
  if (::fstat(file.fd, &info) != 0) fail("stat", path);
  if (S_ISDIR(info.st_mode))
    throw IoError(fmt::format("cannot read {}: it is a folder", path.string()));
  const auto size = static_cast<std::size_t>(info.st_size);
  if (size == 0) return;
  void* start = ::mmap(nullptr, size, PROT_READ, MAP_PRIVATE, file.fd, 0);
  if (start == MAP_FAILED) fail("map", path);
  bytes_ = {static_cast<const std::byte*>(start), size};
}

MappedFile::~MappedFile() {
  if (!bytes_.empty()) ::munmap(const_cast<std::byte*>(bytes_.data()), bytes_.size());
}

MappedFile::MappedFile(MappedFile&& other) noexcept
    : path_(std::move(other.path_)), bytes_(std::exchange(other.bytes_, {})) {}

MappedFile& MappedFile::operator=(MappedFile&& other) noexcept {
  std::swap(path_, other.path_);
  std::swap(bytes_, other.bytes_);
  return *this;
}

TempDir::TempDir(std::string_view prefix) {
  std::string pattern = (fs::temp_directory_path() / fmt::format("{}.XXXXXX", prefix)).string();
  if (::mkdtemp(pattern.data()) == nullptr) fail("make a folder like", pattern);
  path_ = pattern;
}

TempDir::~TempDir() {
  std::error_code ignored;
  fs::remove_all(path_, ignored);
}

}  // namespace muster
