// The one door to HDF5. Every failure is an IoError that names the file, what was asked for and the
// library's own reason, which is the system's where a system call failed. No file is ever locked:
// many ranks read one file, often from a file system without locks. Nothing is left to the
// library's clean-up at exit, which crashes on files whose last write failed.
#pragma once

#include <concepts>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace muster {

// What datasets hold; stored little-endian.
template <typename T>
concept Hdf5Element = std::same_as<T, float> || std::same_as<T, double> ||
    std::same_as<T, std::int64_t> || std::same_as<T, std::uint8_t>;

class Hdf5File {
 public:
  // kAnyReader: the oldest format that serves. kChecksummed: metadata carries checksums, which a
  // read verifies (HDF5 1.10 and later).
  enum class Metadata { kAnyReader, kChecksummed };
  // kContiguous: one block without time stamps, so that equal content makes equal files and its
  // place in the file is known. kChecksummed: 1-D, a checksum per 65,536 elements, which a read
  // verifies.
  enum class Storage { kContiguous, kChecksummed };

  // `user_block` bytes at the file's begin are left to the caller: 0, or a power of two from 512.
  static Hdf5File create(const std::filesystem::path& path, Metadata metadata,
                         std::int64_t user_block = 0);
  static Hdf5File open(const std::filesystem::path& path);  // for reading
  ~Hdf5File();
  Hdf5File(Hdf5File&& other) noexcept;
  Hdf5File& operator=(Hdf5File&&) = delete;

  void close();  // writes out; throws, unlike the destructor

  // Attributes of the file's root.
  void write_integer(const std::string& name, std::int64_t value);
  void write_text(const std::string& name, std::string_view text);  // REQUIRES text not empty
  bool has_attribute(const std::string& name) const;
  bool contains(const std::string& name) const;  // a dataset of that name
  std::int64_t read_integer(const std::string& name) const;
  std::string read_text(const std::string& name) const;

  // Makes a dataset of `rows` rows (of `width` elements; 1: 1-D) and the groups above it. Nothing
  // is written into it.
  template <Hdf5Element T>
  void make(const std::string& name, std::int64_t rows, std::int64_t width, Storage storage);
  // Writes elements begin ... of a 1-D dataset.
  template <Hdf5Element T>
  void write_part(const std::string& name, std::int64_t begin, std::span<const T> values);
  // Makes a dataset and writes all of it. REQUIRES values.size() divisible by width.
  template <Hdf5Element T>
  void write(const std::string& name, std::span<const T> values, Storage storage,
             std::int64_t width = 1);

  std::int64_t length(const std::string& name) const;  // elements in all
  std::int64_t offset(const std::string& name) const;  // bytes from the file's start; -1: scattered
  template <Hdf5Element T>
  std::vector<T> read(const std::string& name) const;
  // Fills `values` with the elements of a 1-D dataset from `begin`.
  template <Hdf5Element T>
  void read_part(const std::string& name, std::int64_t begin, std::span<T> values) const;

 private:
  Hdf5File(std::filesystem::path path, std::int64_t id) : path_(std::move(path)), id_(id) {}
  std::int64_t checked(std::int64_t code, const std::string& what) const;
  // The library writes as many values as the file says, whatever room there is for them.
  void require_one_value(std::int64_t attribute, const std::string& name) const;

  std::filesystem::path path_;
  std::int64_t id_ = -1;
};

}  // namespace muster
