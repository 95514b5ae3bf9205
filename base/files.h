// Files that are read: memory-mapped, checksummed with XXH3-128. base/process/atomic_file.h writes.
#pragma once

#include <cstddef>
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

// A read-only mapping of a whole file; empty files map to an empty span.
class MappedFile {
 public:
  explicit MappedFile(const fs::path& path);  // throws IoError
  ~MappedFile();
  MappedFile(MappedFile&& other) noexcept;
  MappedFile& operator=(MappedFile&& other) noexcept;
  std::span<const std::byte> bytes() const { return bytes_; }
  const fs::path& path() const { return path_; }

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
