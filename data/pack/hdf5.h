// A pack as an HDF5 file.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>

#include "data/pack/columns.h"

namespace muster::data {

struct PackFile {
  PackColumns columns;
  std::int64_t image_bytes = 0;  // length of images/bytes
  std::int64_t images_at = 0;    // where images/bytes begins in the file
  std::string fingerprint;
};

// Throws DataError for anything that is not a whole pack this version reads.
PackFile read_pack_file(const std::filesystem::path& path);

// Writes a file in place: the pictures' bytes in order, then the columns. Throws IoError. The
// caller makes it atomic.
class PackWriter {
 public:
  PackWriter(const std::filesystem::path& path, std::int64_t image_bytes);
  ~PackWriter();
  void add_bytes(std::span<const std::byte> bytes);  // the next of images/bytes
  void finish(SpooledColumns& columns);              // closes and seals the file

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace muster::data
