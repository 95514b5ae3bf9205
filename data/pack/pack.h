// The HDF5 pack: one file per split. Byte-level layout in docs/pack_format.md. Image bytes lie in
// one contiguous dataset whose file offset is known, so loader threads pread them without HDF5's
// lock.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
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

  std::int64_t size() const;                // samples
  Sample sample(std::int64_t index) const;  // made from the columns in memory; thread-safe
  std::int64_t num_pictures() const;
  // The stored bytes of a picture of the pack's table (Picture::index). Thread-safe; the checksum
  // is verified, DataError names the picture.
  std::vector<std::byte> picture_bytes(std::int64_t picture) const;
  const std::vector<Category>& categories() const;  // all, also those without objects
  const ClassMap& class_map() const;
  std::string fingerprint() const;  // of the content; goes into the checkpoint's manifest
  const std::filesystem::path& path() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

// Writes a pack as samples come. Pictures' bytes go to a file beside it at once (PATH.images.part)
// and from there into the pack at the end, which gives the room back as it goes; numbers and texts
// go to files without a name in its folder. Memory grows by some 40 bytes a picture, and by nothing
// a sample. Nothing is at `path` before finish(), and nothing is
// left of a builder that does not get there. An IoError of a full disk says what to do.
class PackBuilder {
 public:
  explicit PackBuilder(const std::filesystem::path& path);
  ~PackBuilder();
  // Returns the picture's index. Equal bytes (with equal orientation) are stored once. Throws
  // IoError, and DataError for no bytes.
  std::int64_t add_picture(std::span<const std::byte> bytes, const Picture& picture);
  void add_sample(const Sample& sample);  // REQUIRES: every picture's index is one of add_picture()
  // Throws DataError for a name that two samples have and a category id that is not in the table or
  // twice. REQUIRES no call after it.
  void finish(const std::vector<Category>& categories);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

// The same for samples in memory, whose picture files are read, not re-encoded, each once.
void write_pack(const std::filesystem::path& path, const std::vector<Sample>& samples,
                const std::vector<Category>& categories);

}  // namespace muster::data
