// An append-only file that never grows without limit: at half of `max_bytes` it becomes FILE.1,
// replacing that one.
#pragma once

#include <cstddef>
#include <filesystem>
#include <string_view>

namespace muster {

class BoundedFile {
 public:
  BoundedFile(const std::filesystem::path& file, std::size_t max_bytes);  // throws IoError
  ~BoundedFile();
  BoundedFile(const BoundedFile&) = delete;
  BoundedFile& operator=(const BoundedFile&) = delete;
  void write(std::string_view bytes) noexcept;  // a full disk loses bytes, never the process

 private:
  void open();

  std::filesystem::path file_;
  std::size_t limit_, size_ = 0;
  int fd_ = -1;
};

}  // namespace muster
