#include "sharding/state/hdf5_file.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <hdf5.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include "base/error.h"

namespace muster::sharding {
namespace {

// Errors are told through exceptions; the library would print its stack besides.
void silence() { H5Eset_auto2(H5E_DEFAULT, nullptr, nullptr); }

class Handle {
 public:
  Handle(hid_t id, herr_t (*close)(hid_t)) : id_(id), close_(close) {}
  ~Handle() {
    if (id_ >= 0) close_(id_);
  }
  Handle(const Handle&) = delete;
  Handle& operator=(const Handle&) = delete;
  hid_t get() const { return id_; }

 private:
  hid_t id_;
  herr_t (*close_)(hid_t);
};

// Chunks with Fletcher's checksum, verified when they are read: a damaged one is an error that
// names the dataset.
constexpr hsize_t kChunkElements = 1 << 16;
void set_checksums(hid_t properties, hsize_t count) {
  if (count == 0) return;
  const hsize_t chunk = std::min(count, kChunkElements);
  H5Pset_chunk(properties, 1, &chunk);
  H5Pset_fletcher32(properties);
}

Handle open_dataset(std::int64_t file, const char* name) {
  return {H5Dopen2(file, name, H5P_DEFAULT), H5Dclose};
}

}  // namespace

// A write that fails half-way leaves the library in a state it does not survive the end of the
// process with, so a full disk must show before. File systems that cannot say are not asked.
static void require_room(const std::filesystem::path& path, std::int64_t bytes) {
  const int file = ::open(path.c_str(), O_CREAT | O_WRONLY | O_TRUNC | O_CLOEXEC, 0666);
  if (file < 0) return;  // create() tells
  const bool full = ::fallocate(file, 0, 0, bytes) != 0 && errno != EOPNOTSUPP;
  const int why = errno;
  ::close(file);
  if (!full) return;
  std::filesystem::remove(path);
  throw IoError(
      fmt::format("{}: no room for {} bytes: {}", path.string(), bytes, std::strerror(why)));
}

Hdf5File Hdf5File::create(const std::filesystem::path& path, std::int64_t bytes) {
  silence();
  require_room(path, bytes);
  const Handle access(H5Pcreate(H5P_FILE_ACCESS), H5Pclose);
  H5Pset_libver_bounds(access.get(), H5F_LIBVER_V110,
                       H5F_LIBVER_V110);  // whose metadata has checksums, too
  Hdf5File file(path, H5Fcreate(path.c_str(), H5F_ACC_TRUNC, H5P_DEFAULT, access.get()));
  file.checked(file.id_, "cannot be created");
  return file;
}

Hdf5File Hdf5File::open(const std::filesystem::path& path) {
  silence();
  Hdf5File file(path, H5Fopen(path.c_str(), H5F_ACC_RDONLY, H5P_DEFAULT));
  file.checked(file.id_, "is not there or not a whole HDF5 file");
  return file;
}

Hdf5File::~Hdf5File() {
  if (id_ >= 0) H5Fclose(id_);
}

Hdf5File::Hdf5File(Hdf5File&& other) noexcept
    : path_(std::move(other.path_)), id_(std::exchange(other.id_, -1)) {}

void Hdf5File::close() { checked(H5Fclose(std::exchange(id_, -1)), "cannot be written out"); }

std::int64_t Hdf5File::checked(std::int64_t code, const char* what) const {
  if (code < 0) throw IoError(fmt::format("{}: {}", path_.string(), what));
  return code;
}

void Hdf5File::write_number(const char* name, std::int64_t value) {
  const Handle space(H5Screate(H5S_SCALAR), H5Sclose);
  const Handle attribute(
      H5Acreate2(id_, name, H5T_STD_I64LE, space.get(), H5P_DEFAULT, H5P_DEFAULT), H5Aclose);
  checked(attribute.get(), name);
  checked(H5Awrite(attribute.get(), H5T_NATIVE_INT64, &value), name);
}

std::int64_t Hdf5File::read_number(const char* name) const {
  const Handle attribute(H5Aopen(id_, name, H5P_DEFAULT), H5Aclose);
  checked(attribute.get(), fmt::format("has no attribute {}", name).c_str());
  std::int64_t value = 0;
  checked(H5Aread(attribute.get(), H5T_NATIVE_INT64, &value), name);
  return value;
}

void Hdf5File::write_dataset(const char* name, std::int64_t type, const void* data,
                             std::size_t count) {
  const hsize_t size = count;
  const Handle space(H5Screate_simple(1, &size, nullptr), H5Sclose),
      properties(H5Pcreate(H5P_DATASET_CREATE), H5Pclose);
  set_checksums(properties.get(), size);
  const Handle dataset(
      H5Dcreate2(id_, name, type, space.get(), H5P_DEFAULT, properties.get(), H5P_DEFAULT),
      H5Dclose);
  checked(dataset.get(), name);
  checked(H5Dwrite(dataset.get(), type, H5S_ALL, H5S_ALL, H5P_DEFAULT, data),
          fmt::format("cannot write {}", name).c_str());
  checked(H5Dflush(dataset.get()),
          fmt::format("cannot write {}", name).c_str());  // closing would not tell
}

void Hdf5File::write(const char* name, std::span<const float> values) {
  write_dataset(name, H5T_IEEE_F32LE, values.data(), values.size());
}
void Hdf5File::write(const char* name, std::span<const std::int64_t> values) {
  write_dataset(name, H5T_STD_I64LE, values.data(), values.size());
}
void Hdf5File::write_text(const char* name, const std::string& text) {
  write_dataset(name, H5T_STD_U8LE, text.data(), text.size());
}

std::int64_t Hdf5File::length(const char* name) const {
  const Handle dataset = open_dataset(id_, name);
  checked(dataset.get(), fmt::format("has no dataset {}", name).c_str());
  const Handle space(H5Dget_space(dataset.get()), H5Sclose);
  return checked(H5Sget_simple_extent_npoints(space.get()), name);
}

template <typename Value>
std::vector<Value> Hdf5File::read_all(const char* name, std::int64_t type) const {
  std::vector<Value> values(static_cast<std::size_t>(length(name)));
  const Handle dataset = open_dataset(id_, name);
  checked(H5Dread(dataset.get(), type, H5S_ALL, H5S_ALL, H5P_DEFAULT, values.data()),
          fmt::format("cannot read {}", name).c_str());
  return values;
}

std::vector<std::int64_t> Hdf5File::read_integers(const char* name) const {
  return read_all<std::int64_t>(name, H5T_NATIVE_INT64);
}

std::string Hdf5File::read_text(const char* name) const {
  const std::vector<char> bytes = read_all<char>(name, H5T_NATIVE_UINT8);
  return {bytes.begin(), bytes.end()};
}

void Hdf5File::read(const char* name, std::int64_t begin, std::span<float> values) const {
  const hsize_t start = static_cast<hsize_t>(begin), count = values.size();
  const Handle dataset = open_dataset(id_, name);
  checked(dataset.get(), fmt::format("has no dataset {}", name).c_str());
  const Handle file_space(H5Dget_space(dataset.get()), H5Sclose),
      memory(H5Screate_simple(1, &count, nullptr), H5Sclose);
  checked(H5Sselect_hyperslab(file_space.get(), H5S_SELECT_SET, &start, nullptr, &count, nullptr),
          name);
  checked(H5Dread(dataset.get(), H5T_NATIVE_FLOAT, memory.get(), file_space.get(), H5P_DEFAULT,
                  values.data()),
          fmt::format("cannot read {} elements of {} from {}", count, name, begin).c_str());
}

}  // namespace muster::sharding
