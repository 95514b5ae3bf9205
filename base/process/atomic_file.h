// Files and folders that are whole or absent: they are made beside their place, under the one
// temporary suffix, reach the disk, and are renamed into place. What is not committed is removed;
// what a kill leaves behind is overwritten by the next try.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string_view>

#include "base/process/fd.h"

namespace muster {

// "FILE.part": where FILE is made.
std::filesystem::path part_of(const std::filesystem::path& target);

// REQUIRES one writer of a target at a time.
class AtomicFile {
 public:
  explicit AtomicFile(std::filesystem::path target);
  ~AtomicFile();  // removes the part unless it was committed
  AtomicFile(const AtomicFile&) = delete;
  AtomicFile& operator=(const AtomicFile&) = delete;

  // For a library that opens by name: it must have closed the file before commit().
  const std::filesystem::path& part() const { return part_; }
  // Makes the part anew and asks the file system for `bytes` of room, so that a full disk shows
  // before anything is written; those that cannot say are not asked. Throws IoError.
  void reserve(std::int64_t bytes);
  // Appends to the part; the first call creates it. Throws IoError.
  void write(std::string_view bytes);
  void write(std::span<const std::byte> bytes);
  // fsync, rename, fsync of the folder. Throws IoError, leaving what was there before.
  void commit();

 private:
  std::filesystem::path target_, part_;
  Fd fd_;
  bool committed_ = false;
};

// A folder that is filled beside its place. REQUIRES that nothing is there at commit().
class AtomicFolder {
 public:
  explicit AtomicFolder(std::filesystem::path target);  // makes the empty part; throws IoError
  ~AtomicFolder();  // removes the part and all in it unless it was committed
  AtomicFolder(const AtomicFolder&) = delete;
  AtomicFolder& operator=(const AtomicFolder&) = delete;

  const std::filesystem::path& part() const { return part_; }
  void commit();  // as a file's; the files in it must be on the disk already

 private:
  std::filesystem::path target_, part_;
  bool committed_ = false;
};

// A whole file of `text`. Throws IoError, leaving the old file.
void write_text(const std::filesystem::path& path, std::string_view text);

}  // namespace muster
