#include "base/hdf5/hdf5_file.h"

#include <fmt/core.h>
#include <hdf5.h>

#include <algorithm>
#include <array>
#include <cstring>

#include "base/error.h"
#include "base/hdf5/fletcher32.h"

namespace muster {
namespace {

constexpr hsize_t kChunkElements = 1 << 16;

// Owns an identifier of the library; negative is none.
class Handle {
 public:
  using Close = herr_t (*)(hid_t);
  Handle(hid_t id, Close close) : id_(id), close_(close) {}
  ~Handle() {
    if (id_ >= 0) close_(id_);
  }
  Handle(const Handle&) = delete;
  Handle& operator=(const Handle&) = delete;
  operator hid_t() const { return id_; }

 private:
  hid_t id_;
  Close close_;
};

// The library prints its stack of errors by default; here they become exceptions. The setting is
// per thread, so every entry sets it.
void silence() {
  H5dont_atexit();
  H5Eset_auto2(H5E_DEFAULT, nullptr, nullptr);
}

// The innermost message on the library's stack of errors: of the system call, when one failed.
std::string reason() {
  std::string text = "HDF5 gives no reason";
  const auto first = [](unsigned n, const H5E_error2_t* error, void* out) -> herr_t {
    if (n == 0 && error->desc != nullptr) *static_cast<std::string*>(out) = error->desc;
    return 0;
  };
  H5Ewalk2(H5E_DEFAULT, H5E_WALK_UPWARD, first, &text);
  constexpr std::string_view kSystem = "error message = '";  // among addresses and times
  if (const std::size_t at = text.find(kSystem); at != std::string::npos) {
    text.erase(0, at + kSystem.size());
    text.resize(std::min(text.find('\''), text.size()));
  }
  return text;
}

template <typename T>
hid_t stored_type() {
  if constexpr (std::same_as<T, float>)
    return H5T_IEEE_F32LE;
  else if constexpr (std::same_as<T, double>)
    return H5T_IEEE_F64LE;
  else if constexpr (std::same_as<T, std::int64_t>)
    return H5T_STD_I64LE;
  else
    return H5T_STD_U8LE;
}

template <typename T>
hid_t native_type() {
  if constexpr (std::same_as<T, float>)
    return H5T_NATIVE_FLOAT;
  else if constexpr (std::same_as<T, double>)
    return H5T_NATIVE_DOUBLE;
  else if constexpr (std::same_as<T, std::int64_t>)
    return H5T_NATIVE_INT64;
  else
    return H5T_NATIVE_UINT8;
}

hid_t file_access(Hdf5File::Metadata metadata) {
  const hid_t access = H5Pcreate(H5P_FILE_ACCESS);
  H5Pset_file_locking(access, /*use_file_locking=*/false, /*ignore_when_disabled=*/true);
  if (metadata == Hdf5File::Metadata::kChecksummed)
    H5Pset_libver_bounds(access, H5F_LIBVER_V110, H5F_LIBVER_V110);
  return access;
}

// A contiguous dataset takes its space at once, so that it has a place in the file.
hid_t dataset_properties(Hdf5File::Storage storage, hsize_t elements) {
  const hid_t properties = H5Pcreate(H5P_DATASET_CREATE);
  if (storage == Hdf5File::Storage::kContiguous) {
    H5Pset_layout(properties, H5D_CONTIGUOUS);
    H5Pset_alloc_time(properties, H5D_ALLOC_TIME_EARLY);
    H5Pset_fill_time(properties, H5D_FILL_TIME_NEVER);
    H5Pset_obj_track_times(properties, false);
  } else if (elements > 0) {
    const hsize_t chunk = std::min(elements, kChunkElements);
    H5Pset_chunk(properties, 1, &chunk);
    H5Pset_fletcher32(properties);
  }
  return properties;
}

// Elements begin ... of a 1-D dataset in the file, and as many in memory.
struct Part {
  Part(hid_t dataset, std::int64_t begin, std::size_t elements)
      : file(H5Dget_space(dataset), H5Sclose), memory(one_row(elements), H5Sclose) {
    const auto start = static_cast<hsize_t>(begin);
    const auto count = static_cast<hsize_t>(elements);
    selected = H5Sselect_hyperslab(file, H5S_SELECT_SET, &start, nullptr, &count, nullptr);
  }
  static hid_t one_row(hsize_t elements) { return H5Screate_simple(1, &elements, nullptr); }

  Handle file, memory;
  herr_t selected = -1;
};

// Are the dataset's bytes in the file those in memory, in chunks of kChunkElements with nothing but
// a checksum behind each? Then they can be read past the library's filters, which take three times
// as long as the reading.
bool is_plain_checksummed(hid_t dataset, hid_t native) {
  const Handle properties(H5Dget_create_plist(dataset), H5Pclose);
  const Handle type(H5Dget_type(dataset), H5Tclose);
  hsize_t chunk = 0;
  if (H5Tequal(type, native) <= 0 || H5Pget_layout(properties) != H5D_CHUNKED) return false;
  if (H5Pget_chunk(properties, 1, &chunk) != 1 || chunk != kChunkElements) return false;
  if (H5Pget_nfilters(properties) != 1) return false;
  unsigned flags = 0;
  std::size_t values = 0;
  return H5Pget_filter2(properties, 0, &flags, &values, nullptr, 0, nullptr, nullptr) ==
         H5Z_FILTER_FLETCHER32;
}

// Fills `bytes` and the checksum behind them with one chunk as the file has it. False when its form
// is another one.
bool read_raw_chunk(hid_t dataset, hsize_t begin, std::span<std::byte> bytes) {
  hsize_t stored = 0;
  std::uint32_t skipped_filters = 0;
  return H5Dget_chunk_storage_size(dataset, &begin, &stored) >= 0 && stored == bytes.size() &&
         H5Dread_chunk(dataset, H5P_DEFAULT, &begin, &skipped_filters, bytes.data()) >= 0 &&
         skipped_filters == 0;
}

enum class ChunksRead { kAll, kDamaged, kOfAnotherForm };

// Elements begin ... of a dataset that is_plain_checksummed().
ChunksRead read_chunks(hid_t dataset, std::size_t element, hsize_t begin,
                       std::span<std::byte> values) {
  std::vector<std::byte> chunk(kChunkElements * element + sizeof(std::uint32_t));
  const std::span<const std::byte> content(chunk.data(), kChunkElements * element);
  while (!values.empty()) {
    const hsize_t within = begin % kChunkElements;
    if (!read_raw_chunk(dataset, begin - within, chunk)) return ChunksRead::kOfAnotherForm;
    std::uint32_t checksum = 0;
    std::memcpy(&checksum, chunk.data() + content.size(), sizeof checksum);
    if (fletcher32(content) != checksum) return ChunksRead::kDamaged;
    const auto part = content.subspan(within * element);
    const std::size_t taken = std::min(part.size(), values.size());
    std::memcpy(values.data(), part.data(), taken);
    values = values.subspan(taken);
    begin += taken / element;
  }
  return ChunksRead::kAll;
}

}  // namespace

Hdf5File Hdf5File::create(const std::filesystem::path& path, Metadata metadata,
                          std::int64_t user_block) {
  silence();
  const Handle access(file_access(metadata), H5Pclose);
  const Handle creation(H5Pcreate(H5P_FILE_CREATE), H5Pclose);
  H5Pset_userblock(creation, static_cast<hsize_t>(user_block));
  Hdf5File file(path, H5Fcreate(path.c_str(), H5F_ACC_TRUNC, creation, access));
  file.checked(file.id_, "cannot be created");
  return file;
}

Hdf5File Hdf5File::open(const std::filesystem::path& path) {
  silence();
  const Handle access(file_access(Metadata::kAnyReader), H5Pclose);
  Hdf5File file(path, H5Fopen(path.c_str(), H5F_ACC_RDONLY, access));
  file.checked(file.id_, "is not there or not a whole HDF5 file");
  return file;
}

Hdf5File::~Hdf5File() {
  silence();
  if (id_ >= 0) H5Fclose(id_);
}

Hdf5File::Hdf5File(Hdf5File&& other) noexcept
    : path_(std::move(other.path_)), id_(std::exchange(other.id_, -1)) {}

void Hdf5File::close() {
  silence();
  checked(H5Fclose(std::exchange(id_, -1)), "cannot be written out");
}

std::int64_t Hdf5File::checked(std::int64_t code, const std::string& what) const {
  if (code < 0) throw IoError(fmt::format("{}: {}: {}", path_.string(), what, reason()));
  return code;
}

void Hdf5File::write_integer(const std::string& name, std::int64_t value) {
  silence();
  const std::string what = fmt::format("cannot write attribute '{}'", name);
  const Handle space(H5Screate(H5S_SCALAR), H5Sclose);
  const Handle made(H5Acreate2(id_, name.c_str(), H5T_STD_I64LE, space, H5P_DEFAULT, H5P_DEFAULT),
                    H5Aclose);
  checked(made, what);
  checked(H5Awrite(made, H5T_NATIVE_INT64, &value), what);
}

void Hdf5File::write_text(const std::string& name, std::string_view text) {
  silence();
  const std::string what = fmt::format("cannot write attribute '{}'", name);
  const Handle type(H5Tcopy(H5T_C_S1), H5Tclose);
  checked(H5Tset_size(type, text.size()), what);
  const Handle space(H5Screate(H5S_SCALAR), H5Sclose);
  const Handle made(H5Acreate2(id_, name.c_str(), type, space, H5P_DEFAULT, H5P_DEFAULT), H5Aclose);
  checked(made, what);
  checked(H5Awrite(made, type, text.data()), what);
}

bool Hdf5File::has_attribute(const std::string& name) const {
  silence();
  return H5Aexists(id_, name.c_str()) > 0;
}

bool Hdf5File::contains(const std::string& name) const {
  silence();
  return H5Lexists(id_, name.c_str(), H5P_DEFAULT) > 0;
}

void Hdf5File::require_one_value(std::int64_t attribute, const std::string& name) const {
  const Handle space(H5Aget_space(attribute), H5Sclose);
  const auto values = static_cast<std::int64_t>(H5Sget_simple_extent_npoints(space));
  if (values != 1)
    throw IoError(
        fmt::format("{}: attribute '{}' has {} values, not one", path_.string(), name, values));
}

std::int64_t Hdf5File::read_integer(const std::string& name) const {
  silence();
  const Handle attribute(H5Aopen(id_, name.c_str(), H5P_DEFAULT), H5Aclose);
  checked(attribute, fmt::format("has no attribute '{}'", name));
  require_one_value(attribute, name);
  std::int64_t value = 0;
  checked(H5Aread(attribute, H5T_NATIVE_INT64, &value),
          fmt::format("attribute '{}' is no integer", name));
  return value;
}

std::string Hdf5File::read_text(const std::string& name) const {
  silence();
  const Handle attribute(H5Aopen(id_, name.c_str(), H5P_DEFAULT), H5Aclose);
  checked(attribute, fmt::format("has no attribute '{}'", name));
  const Handle type(H5Aget_type(attribute), H5Tclose);
  const bool text = H5Tget_class(type) == H5T_STRING && H5Tis_variable_str(type) == 0;
  if (!text) throw IoError(fmt::format("{}: attribute '{}' is no text", path_.string(), name));
  require_one_value(attribute, name);
  std::string value(H5Tget_size(type), '\0');
  checked(H5Aread(attribute, type, value.data()), fmt::format("cannot read attribute '{}'", name));
  return value;
}

template <Hdf5Element T>
void Hdf5File::make(const std::string& name, std::int64_t rows, std::int64_t width,
                    Storage storage) {
  silence();
  const std::array<hsize_t, 2> shape{static_cast<hsize_t>(rows), static_cast<hsize_t>(width)};
  const Handle space(H5Screate_simple(width == 1 ? 1 : 2, shape.data(), nullptr), H5Sclose);
  const Handle parents(H5Pcreate(H5P_LINK_CREATE), H5Pclose);
  H5Pset_create_intermediate_group(parents, 1);
  const Handle properties(dataset_properties(storage, shape[0] * shape[1]), H5Pclose);
  const Handle made(
      H5Dcreate2(id_, name.c_str(), stored_type<T>(), space, parents, properties, H5P_DEFAULT),
      H5Dclose);
  checked(made, fmt::format("cannot make dataset '{}'", name));
}

template <Hdf5Element T>
void Hdf5File::write_part(const std::string& name, std::int64_t begin, std::span<const T> values) {
  silence();
  const std::string what = fmt::format("cannot write dataset '{}'", name);
  const Handle dataset(H5Dopen2(id_, name.c_str(), H5P_DEFAULT), H5Dclose);
  checked(dataset, what);
  const Part part(dataset, begin, values.size());
  checked(part.selected, what);
  checked(H5Dwrite(dataset, native_type<T>(), part.memory, part.file, H5P_DEFAULT, values.data()),
          what);
}

// Chunks stay in the library's cache: a flush makes their failure known here, where closing would
// keep silent.
template <Hdf5Element T>
void Hdf5File::write(const std::string& name, std::span<const T> values, Storage storage,
                     std::int64_t width) {
  make<T>(name, static_cast<std::int64_t>(values.size()) / width, width, storage);
  if (values.empty()) return;
  const std::string what = fmt::format("cannot write dataset '{}'", name);
  const Handle dataset(H5Dopen2(id_, name.c_str(), H5P_DEFAULT), H5Dclose);
  checked(dataset, what);
  checked(H5Dwrite(dataset, native_type<T>(), H5S_ALL, H5S_ALL, H5P_DEFAULT, values.data()), what);
  if (storage == Storage::kChecksummed) checked(H5Dflush(dataset), what);
}

std::int64_t Hdf5File::length(const std::string& name) const {
  silence();
  const Handle dataset(H5Dopen2(id_, name.c_str(), H5P_DEFAULT), H5Dclose);
  checked(dataset, fmt::format("has no dataset '{}'", name));
  const Handle space(H5Dget_space(dataset), H5Sclose);
  return checked(H5Sget_simple_extent_npoints(space),
                 fmt::format("cannot read dataset '{}'", name));
}

std::int64_t Hdf5File::offset(const std::string& name) const {
  silence();
  const Handle dataset(H5Dopen2(id_, name.c_str(), H5P_DEFAULT), H5Dclose);
  checked(dataset, fmt::format("has no dataset '{}'", name));
  const haddr_t offset = H5Dget_offset(dataset);
  return offset == HADDR_UNDEF ? -1 : static_cast<std::int64_t>(offset);
}

template <Hdf5Element T>
std::vector<T> Hdf5File::read(const std::string& name) const {
  std::vector<T> values(static_cast<std::size_t>(length(name)));
  if (values.empty()) return values;
  const Handle dataset(H5Dopen2(id_, name.c_str(), H5P_DEFAULT), H5Dclose);
  checked(H5Dread(dataset, native_type<T>(), H5S_ALL, H5S_ALL, H5P_DEFAULT, values.data()),
          fmt::format("cannot read dataset '{}'", name));
  return values;
}

template <Hdf5Element T>
void Hdf5File::read_part(const std::string& name, std::int64_t begin, std::span<T> values) const {
  silence();
  const Handle dataset(H5Dopen2(id_, name.c_str(), H5P_DEFAULT), H5Dclose);
  checked(dataset, fmt::format("has no dataset '{}'", name));
  const std::string what =
      fmt::format("cannot read {} elements of '{}' from {}", values.size(), name, begin);
  const Part part(dataset, begin, values.size());
  checked(part.selected, what);
  // Smaller parts go through the library, which keeps the chunk for the next of them.
  if (values.size() >= kChunkElements && H5Sselect_valid(part.file) > 0 &&
      is_plain_checksummed(dataset, native_type<T>())) {
    const ChunksRead read = read_chunks(dataset, sizeof(T), static_cast<hsize_t>(begin),
                                        std::as_writable_bytes(values));
    if (read == ChunksRead::kAll) return;
    if (read == ChunksRead::kDamaged)
      throw IoError(fmt::format("{}: {}: a checksum differs", path_.string(), what));
  }
  checked(H5Dread(dataset, native_type<T>(), part.memory, part.file, H5P_DEFAULT, values.data()),
          what);
}

#define MUSTER_HDF5_ELEMENT(T)                                                                     \
  template void Hdf5File::make<T>(const std::string&, std::int64_t, std::int64_t, Storage);        \
  template void Hdf5File::write_part<T>(const std::string&, std::int64_t, std::span<const T>);     \
  template void Hdf5File::write<T>(const std::string&, std::span<const T>, Storage, std::int64_t); \
  template std::vector<T> Hdf5File::read<T>(const std::string&) const;                             \
  template void Hdf5File::read_part<T>(const std::string&, std::int64_t, std::span<T>) const;
MUSTER_HDF5_ELEMENT(float)
MUSTER_HDF5_ELEMENT(double)
MUSTER_HDF5_ELEMENT(std::int64_t)
MUSTER_HDF5_ELEMENT(std::uint8_t)
#undef MUSTER_HDF5_ELEMENT

}  // namespace muster
