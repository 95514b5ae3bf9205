// The little of HDF5 that shards need: 1-D datasets and scalar integers at the root of one file.
// Datasets carry a checksum per 256 KiB, which a read verifies. Throws IoError.
#pragma once

#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <vector>

namespace muster::sharding {

class Hdf5File {
 public:
  // `bytes`: about what it will hold; IoError when the file system has no room for that.
  static Hdf5File create(const std::filesystem::path& path, std::int64_t bytes);
  static Hdf5File open(const std::filesystem::path& path);
  ~Hdf5File();
  Hdf5File(Hdf5File&& other) noexcept;
  Hdf5File& operator=(Hdf5File&&) = delete;

  void write_number(const char* name, std::int64_t value);
  std::int64_t read_number(const char* name) const;

  void write(const char* name, std::span<const float> values);
  void write(const char* name, std::span<const std::int64_t> values);
  void write_text(const char* name, const std::string& text);  // bytes
  std::vector<std::int64_t> read_integers(const char* name) const;
  std::string read_text(const char* name) const;
  std::int64_t length(const char* name) const;
  void read(const char* name, std::int64_t begin,
            std::span<float> values) const;  // values.size() elements from `begin`

  void close();  // writes out; throws, unlike the destructor

 private:
  Hdf5File(std::filesystem::path path, std::int64_t id) : path_(std::move(path)), id_(id) {}
  void write_dataset(const char* name, std::int64_t type, const void* data, std::size_t count);
  template <typename Value>
  std::vector<Value> read_all(const char* name, std::int64_t type) const;
  std::int64_t checked(std::int64_t code, const char* what) const;

  std::filesystem::path path_;
  std::int64_t id_ = -1;
};

}  // namespace muster::sharding
