#include "base/process/bounded_file.h"

#include <fcntl.h>
#include <fmt/core.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <system_error>

#include "base/error.h"

namespace muster {

BoundedFile::BoundedFile(const std::filesystem::path& file, std::size_t max_bytes)
    : file_(file), limit_(std::max<std::size_t>(max_bytes / 2, 1)) {
  std::error_code ignored;
  std::filesystem::create_directories(file.parent_path(), ignored);
  open();
  if (!fd_) throw IoError(fmt::format("cannot write {}: {}", file.string(), std::strerror(errno)));
}

void BoundedFile::open() {
  fd_.reset();
  fd_ = Fd(::open(file_.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666));
  const off_t end = fd_ ? ::lseek(fd_.get(), 0, SEEK_END) : 0;
  size_ = static_cast<std::size_t>(std::max<off_t>(end, 0));
}

void BoundedFile::write(std::string_view bytes) noexcept {
  if (size_ > 0 && size_ + bytes.size() > limit_) {
    ::rename(file_.c_str(), (file_.string() + ".1").c_str());
    open();
  }
  if (fd_) size_ += write_until_done(fd_.get(), bytes);
}

}  // namespace muster
