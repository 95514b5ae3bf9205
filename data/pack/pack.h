// The HDF5 pack: one file per split. Byte-level layout in docs/pack_format.md. Image bytes lie in
// one contiguous dataset whose file offset is known, so loader threads pread them without HDF5's
// lock.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <vector>

namespace muster::data {

struct Object {
  std::array<double, 4> box{};  // x1, y1, x2, y2 in stored pixels
  std::int64_t category = -1;   // original category id (of the source)
  std::string caption;  // what the detector learns to write; the category's name unless the source
                        // says more
  bool crowd = false;
  double area = 0;  // the source's, else the box's
};

struct Sample {
  std::string name;             // unique within the pack, e.g. the file's stem
  std::filesystem::path image;  // source path
  std::int64_t source_id = -1;  // COCO image id where the source has one, else the position
  std::int64_t width = 0, height = 0;
  std::vector<Object> objects;
  std::string prompt, answer;  // the source's own conversation, where it is not a list of boxes;
                               // else empty: the config's
  std::string where;           // annotation file (and line) for messages; not stored in the pack

  bool has_image() const { return !image.empty(); }  // false: text only
};

struct Category {
  std::int64_t id = 0;  // original
  std::string name;
};

// Original id <-> 0..K-1 over the categories that occur, saved with every checkpoint (diary
// row D-001).
class ClassMap {
 public:
  ClassMap() = default;
  explicit ClassMap(std::vector<Category> active);  // sorted by original id
  std::int64_t to_index(std::int64_t original_id,
                        const std::string& where) const;  // throws DataError
  const Category& category(std::int64_t index) const;
  std::int64_t size() const { return static_cast<std::int64_t>(active_.size()); }
  // Index of the category whose name equals `caption` after trimming and case folding, or -1.
  std::int64_t find_name(const std::string& caption) const;
  std::string to_json() const;
  static ClassMap from_json(const std::string& text);

 private:
  std::vector<Category> active_;
  std::vector<std::string> folded_;  // names, trimmed and case-folded
};

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
