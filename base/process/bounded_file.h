// An append-only file that never grows without limit: at half of `max_bytes` it becomes FILE.1,
// replacing that one.
#pragma once

#include <cstddef>
#include <filesystem>
#include <string_view>

#include "base/process/fd.h"

namespace muster {

class BoundedFile {
 public:
  BoundedFile(const std::filesystem::path& file, std::size_t max_bytes);  // throws IoError
  void write(std::string_view bytes) noexcept;  // a full disk loses bytes, never the process

 private:
  void open();

  std::filesystem::path file_;
  std::size_t limit_;
  std::size_t size_ = 0;
  Fd fd_;
};

}  // namespace muster
