// The HDF5 pack: one file per split. Byte-level layout in docs/pack_format.md. Image bytes lie in
// one contiguous dataset whose file offset is known, so loader threads pread them without HDF5's
// lock.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "data/pack/class_map.h"
#include "data/pack/sample.h"

namespace muster::data {

class Pack {
 public:
  explicit Pack(const std::filesystem::path& path);  // throws DataError
  ~Pack();
  Pack(Pack&&) noexcept;

  std::int64_t size() const;
  const Sample& sample(std::int64_t index) const;  // metadata, in memory
  std::vector<std::byte> image_bytes(
      std::int64_t index) const;  // thread-safe; checksum verified, DataError names the sample
  const std::vector<Category>& categories() const;  // all, also those without objects
  const ClassMap& class_map() const;
  std::string fingerprint() const;  // of the content; goes into the checkpoint's manifest
  const std::filesystem::path& path() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

// Writes `samples` whole or not at all. Image files are read, not re-encoded.
void write_pack(const std::filesystem::path& path, const std::vector<Sample>& samples,
                const std::vector<Category>& categories);

}  // namespace muster::data
