// Files that are read: memory-mapped, checksummed with XXH3-128. base/process/atomic_file.h writes.
#pragma once

#include <compare>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>

namespace muster {

namespace fs = std::filesystem;

std::string lower_extension(const fs::path& path);  // ".jpg" of "A.JPG"
std::string read_text(const fs::path& path);        // throws IoError

// A clone without Git LFS leaves a small text in place of each large file.
bool is_lfs_pointer(std::string_view bytes);
inline constexpr const char* kLfsAdvice =
    "a Git LFS pointer stands here, not the file: run `git lfs pull` in its folder, or download it";

// 32 hex digits, as xxh128sum prints.
std::string xxh128(std::span<const std::byte> bytes);
std::string xxh128_file(const fs::path& path);
// Of the bytes begin ... end - 1. REQUIRES a file that has them.
std::string xxh128_file(const fs::path& path, std::int64_t begin, std::int64_t end);

// The same checksum in 16 bytes, for tables of many. Digests are ordered as their digits are.
struct Digest {
  std::uint64_t high = 0, low = 0;
  auto operator<=>(const Digest&) const = default;
};
Digest digest_of(std::string_view bytes);
Digest digest_of(std::span<const std::byte> bytes);
std::string to_hex(const Digest& digest);

// A read-only mapping of a whole file; empty files map to an empty span.
class MappedFile {
 public:
  explicit MappedFile(const fs::path& path);  // throws IoError
  ~MappedFile();
  MappedFile(MappedFile&& other) noexcept;
  MappedFile& operator=(MappedFile&& other) noexcept;
  std::span<const std::byte> bytes() const { return bytes_; }
  const fs::path& path() const { return path_; }
  // The first `end` bytes are not needed soon: the system may have their memory. They stay
  // readable.
  void forget_until(std::size_t end) const;

 private:
  fs::path path_;
  std::span<const std::byte> bytes_;
};

// A folder that is deleted with everything in it when the object goes. For tests and staging.
class TempDir {
 public:
  explicit TempDir(std::string_view prefix = "muster");
  ~TempDir();
  TempDir(const TempDir&) = delete;
  TempDir& operator=(const TempDir&) = delete;
  const fs::path& path() const { return path_; }

 private:
  fs::path path_;
};

}  // namespace muster
