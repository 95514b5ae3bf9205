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
#include <limits>
#include <memory>
#include <utility>
#include <vector>

#include "base/error.h"

namespace muster {
namespace {

[[noreturn]] void fail(const char* what, const fs::path& path) {
  throw IoError(fmt::format("cannot {} {}: {}", what, path.string(), std::strerror(errno)));
}

// Read, not mapped: what a disk or a file server cannot deliver is an error here, and would be a
// signal there.
template <typename Consume>
void read_portions(const fs::path& path, Consume consume, off_t begin = 0,
                   off_t end = std::numeric_limits<off_t>::max()) {
  constexpr std::size_t kPortion = 4 << 20;
  struct Closing {
    int fd;
    ~Closing() { ::close(fd); }
  };
  const Closing file{::open(path.c_str(), O_RDONLY | O_CLOEXEC)};
  if (file.fd < 0) fail("open", path);
  struct stat info {};
  if (::fstat(file.fd, &info) != 0) fail("stat", path);
  if (begin > 0 && ::lseek(file.fd, begin, SEEK_SET) < 0) fail("seek in", path);
  const auto size = static_cast<std::size_t>(std::max<off_t>(info.st_size, 4096));
  std::string portion(std::min(kPortion, size), '\0');  // those of /proc say 0
  for (off_t at = begin; at < end;) {
    const auto wanted =
        static_cast<std::size_t>(std::min<off_t>(static_cast<off_t>(portion.size()), end - at));
    const ssize_t read = ::read(file.fd, portion.data(), wanted);
    if (read < 0 && errno == EINTR) continue;
    if (read < 0) fail("read", path);
    if (read == 0) return;
    consume(std::string_view(portion.data(), static_cast<std::size_t>(read)));
    at += read;
  }
}

}  // namespace

std::string lower_extension(const fs::path& path) {
  std::string extension = path.extension().string();
  std::transform(extension.begin(), extension.end(), extension.begin(),
                 [](unsigned char c) { return std::tolower(c); });
  return extension;
}

std::string read_text(const fs::path& path) {
  std::string text;
  read_portions(path, [&](std::string_view portion) { text += portion; });
  return text;
}

bool is_lfs_pointer(std::string_view bytes) {
  return bytes.starts_with("version https://git-lfs.github.com/spec/");
}

std::string xxh128(std::span<const std::byte> bytes) { return to_hex(digest_of(bytes)); }

std::string xxh128_file(const fs::path& path) {
  return xxh128_file(path, 0, std::numeric_limits<std::int64_t>::max());
}

std::string xxh128_file(const fs::path& path, std::int64_t begin, std::int64_t end) {
  const std::unique_ptr<XXH3_state_t, decltype(&XXH3_freeState)> state(XXH3_createState(),
                                                                       XXH3_freeState);
  XXH3_128bits_reset(state.get());
  const auto add = [&](std::string_view portion) {
    XXH3_128bits_update(state.get(), portion.data(), portion.size());
  };
  read_portions(path, add, begin, end);
  const XXH128_hash_t hash = XXH3_128bits_digest(state.get());
  return to_hex({hash.high64, hash.low64});
}

Digest digest_of(std::string_view bytes) {
  const XXH128_hash_t hash = XXH3_128bits(bytes.data(), bytes.size());
  return {hash.high64, hash.low64};
}

Digest digest_of(std::span<const std::byte> bytes) {
  return digest_of({reinterpret_cast<const char*>(bytes.data()), bytes.size()});
}

std::string to_hex(const Digest& digest) {
  return fmt::format("{:016x}{:016x}", digest.high, digest.low);
}

MappedFile::MappedFile(const fs::path& path) : path_(path) {
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) fail("open", path);
  struct stat info {};
  const bool known = ::fstat(fd, &info) == 0;
  const bool folder = known && S_ISDIR(info.st_mode);
  const auto size = known && !folder ? static_cast<std::size_t>(info.st_size) : 0;
  void* start = size > 0 ? ::mmap(nullptr, size, PROT_READ, MAP_PRIVATE, fd, 0) : nullptr;
  const int error = errno;
  ::close(fd);
  errno = error;
  if (!known) fail("stat", path);
  if (folder) throw IoError(fmt::format("cannot read {}: it is a folder", path.string()));
  if (start == MAP_FAILED) fail("map", path);
  if (size > 0) bytes_ = {static_cast<const std::byte*>(start), size};
}

MappedFile::~MappedFile() {
  if (!bytes_.empty()) ::munmap(const_cast<std::byte*>(bytes_.data()), bytes_.size());
}

void MappedFile::forget_until(std::size_t end) const {
  const std::size_t page = static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
  const std::size_t whole = std::min(end, bytes_.size()) / page * page;
  if (whole > 0) ::madvise(const_cast<std::byte*>(bytes_.data()), whole, MADV_DONTNEED);
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
