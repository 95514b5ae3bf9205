#include "base/process/atomic_file.h"

#include <fcntl.h>
#include <fmt/core.h>

#include <cerrno>
#include <cstring>
#include <system_error>

#include "base/error.h"

namespace muster {
namespace fs = std::filesystem;
namespace {

// Makes the rename itself durable: the folder's entry is what changes.
void put_in_place(const fs::path& part, const fs::path& target) {
  fsync_path(part);
  std::error_code error;
  fs::rename(part, target, error);
  if (error)
    throw IoError(
        fmt::format("cannot rename {} to {}: {}", part.string(), target.string(), error.message()));
}

void sync_folder_of(const fs::path& target) {
  fsync_path(target.has_parent_path() ? target.parent_path() : fs::path("."));
}

}  // namespace

fs::path part_of(const fs::path& target) { return target.string() + ".part"; }

AtomicFile::AtomicFile(fs::path target) : target_(std::move(target)), part_(part_of(target_)) {}

AtomicFile::~AtomicFile() {
  std::error_code ignored;
  if (!committed_) fs::remove(part_, ignored);
}

void AtomicFile::reserve(std::int64_t bytes) {
  const Fd fd = Fd::open(part_, O_WRONLY | O_CREAT | O_TRUNC, 0666);
  if (::fallocate(fd.get(), 0, 0, bytes) != 0 && errno != EOPNOTSUPP)
    throw IoError(
        fmt::format("{}: no room for {} bytes: {}", part_.string(), bytes, std::strerror(errno)));
}

void AtomicFile::write(std::string_view bytes) {
  if (!fd_) fd_ = Fd::open(part_, O_WRONLY | O_CREAT | O_TRUNC);
  write_all(fd_.get(), bytes, part_);
}

void AtomicFile::write(std::span<const std::byte> bytes) {
  write(std::string_view(reinterpret_cast<const char*>(bytes.data()), bytes.size()));
}

void AtomicFile::commit() {
  fd_.close(part_);
  put_in_place(part_, target_);
  committed_ = true;
  sync_folder_of(target_);
}

AtomicFolder::AtomicFolder(fs::path target) : target_(std::move(target)), part_(part_of(target_)) {
  std::error_code error;
  fs::remove_all(part_, error);
  if (!error) fs::create_directories(part_, error);
  if (error)
    throw IoError(fmt::format("cannot make the folder {}: {}", part_.string(), error.message()));
}

AtomicFolder::~AtomicFolder() {
  std::error_code ignored;
  if (!committed_) fs::remove_all(part_, ignored);
}

void AtomicFolder::commit() {
  put_in_place(part_, target_);
  committed_ = true;
  sync_folder_of(target_);
}

void write_text(const fs::path& path, std::string_view text) {
  AtomicFile file(path);
  file.write(text);
  file.commit();
}

}  // namespace muster
