#include "data/pack/hdf5.h"

#include <fmt/core.h>
#include <hdf5.h>

#include <algorithm>
#include <array>
#include <string_view>
#include <type_traits>
#include <utility>

#include "base/error.h"
#include "base/files.h"

namespace muster::data {
namespace {

constexpr const char* kFormat = "muster pack";
constexpr std::int64_t kVersion = 1;

// Owns an HDF5 identifier; -1 is none.
class Id {
 public:
  using Close = herr_t (*)(hid_t);
  Id(hid_t id, Close close) : id_(id), close_(close) {}
  ~Id() { reset(); }
  Id(Id&& other) noexcept : id_(std::exchange(other.id_, -1)), close_(other.close_) {}
  Id& operator=(Id&&) = delete;
  operator hid_t() const { return id_; }
  bool reset() { return id_ < 0 || close_(std::exchange(id_, -1)) >= 0; }

 private:
  hid_t id_;
  Close close_;
};

// HDF5 prints its error stack by default; ours goes into one exception. The setting is per thread,
// so every entry sets it. Its clean-up at exit walks into files whose last flush failed (disk full)
// and crashes: everything is closed by its owner here, so the clean-up is switched off.
void silence() {
  H5dont_atexit();
  H5Eset_auto2(H5E_DEFAULT, nullptr, nullptr);
}

// The innermost message of HDF5's error stack.
std::string reason() {
  std::string text = "HDF5 gives no reason";
  const auto first = [](unsigned n, const H5E_error2_t* error, void* out) -> herr_t {
    if (n == 0 && error->desc != nullptr) *static_cast<std::string*>(out) = error->desc;
    return 0;
  };
  H5Ewalk2(H5E_DEFAULT, H5E_WALK_UPWARD, first, &text);
  constexpr std::string_view kSystem =
      "error message = '";  // of the system call, among addresses and times
  if (const std::size_t at = text.find(kSystem); at != std::string::npos) {
    text.erase(0, at + kSystem.size());
    text.resize(std::min(text.find('\''), text.size()));
  }
  return text;
}

template <typename T>
hid_t native_type() {
  if constexpr (std::is_same_v<T, double>)
    return H5T_NATIVE_DOUBLE;
  else if constexpr (std::is_same_v<T, std::int64_t>)
    return H5T_NATIVE_INT64;
  else
    return H5T_NATIVE_UINT8;
}
template <typename T>
hid_t stored_type() {
  if constexpr (std::is_same_v<T, double>)
    return H5T_IEEE_F64LE;
  else if constexpr (std::is_same_v<T, std::int64_t>)
    return H5T_STD_I64LE;
  else
    return H5T_STD_U8LE;
}

// Contiguous, space taken at once (so that its file offset exists), no fill, no time stamps (equal
// content, equal file).
Id contiguous() {
  Id plist(H5Pcreate(H5P_DATASET_CREATE), H5Pclose);
  H5Pset_layout(plist, H5D_CONTIGUOUS);
  H5Pset_alloc_time(plist, H5D_ALLOC_TIME_EARLY);
  H5Pset_fill_time(plist, H5D_FILL_TIME_NEVER);
  H5Pset_obj_track_times(plist, false);
  return plist;
}

Id with_parents() {
  Id plist(H5Pcreate(H5P_LINK_CREATE), H5Pclose);
  H5Pset_create_intermediate_group(plist, 1);
  return plist;
}

}  // namespace

// ----------------------------------------------------------------------------------------------------------------
// write

struct PackWriter::Impl {
  Impl(const std::filesystem::path& at, std::int64_t image_bytes)
      : path(at),
        file((silence(), H5Fcreate(path.c_str(), H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT)),
             H5Fclose),
        images(create_images(static_cast<hsize_t>(image_bytes)), H5Dclose) {}

  hid_t create_images(hsize_t length) const {
    check(file);
    const Id space(H5Screate_simple(1, &length, nullptr), H5Sclose);
    const hid_t set = H5Dcreate2(file, "images/bytes", H5T_STD_U8LE, space, with_parents(),
                                 contiguous(), H5P_DEFAULT);
    check(set);
    return set;
  }

  void check(std::int64_t result) const {
    if (result < 0) throw IoError(fmt::format("cannot write {}: {}", path.string(), reason()));
  }

  template <typename T>
  void column(std::string_view name, const std::vector<T>& values, std::int64_t width) {
    const std::array<hsize_t, 2> shape{values.size() / static_cast<hsize_t>(width),
                                       static_cast<hsize_t>(width)};
    const Id space(H5Screate_simple(width == 1 ? 1 : 2, shape.data(), nullptr), H5Sclose);
    const Id set(H5Dcreate2(file, std::string(name).c_str(), stored_type<T>(), space,
                            with_parents(), contiguous(), H5P_DEFAULT),
                 H5Dclose);
    check(set);
    if (!values.empty())
      check(H5Dwrite(set, native_type<T>(), H5S_ALL, H5S_ALL, H5P_DEFAULT, values.data()));
  }

  void attribute(const char* name, const std::string& text) {
    const Id type(H5Tcopy(H5T_C_S1), H5Tclose);
    check(H5Tset_size(type, text.size()));
    const Id space(H5Screate(H5S_SCALAR), H5Sclose);
    const Id made(H5Acreate2(file, name, type, space, H5P_DEFAULT, H5P_DEFAULT), H5Aclose);
    check(made);
    check(H5Awrite(made, type, text.data()));
  }

  void attribute(const char* name, std::int64_t value) {
    const Id space(H5Screate(H5S_SCALAR), H5Sclose);
    const Id made(H5Acreate2(file, name, H5T_STD_I64LE, space, H5P_DEFAULT, H5P_DEFAULT), H5Aclose);
    check(made);
    check(H5Awrite(made, H5T_NATIVE_INT64, &value));
  }

  std::filesystem::path path;
  Id file, images;
  hsize_t written = 0;
};

PackWriter::PackWriter(const std::filesystem::path& path, std::int64_t image_bytes)
    : impl_(std::make_unique<Impl>(path, image_bytes)) {}
PackWriter::~PackWriter() = default;

void PackWriter::add_image(std::span<const std::byte> bytes) {
  if (bytes.empty()) return;
  const hsize_t count = bytes.size();
  const Id target(H5Dget_space(impl_->images), H5Sclose);
  impl_->check(
      H5Sselect_hyperslab(target, H5S_SELECT_SET, &impl_->written, nullptr, &count, nullptr));
  const Id source(H5Screate_simple(1, &count, nullptr), H5Sclose);
  impl_->check(
      H5Dwrite(impl_->images, H5T_NATIVE_UINT8, source, target, H5P_DEFAULT, bytes.data()));
  impl_->written += count;
}

void PackWriter::finish(const PackColumns& columns) {
  for_each_column(columns, [&](std::string_view name, const auto& values, std::int64_t width) {
    impl_->column(name, values, width);
  });
  impl_->attribute("format", std::string(kFormat));
  impl_->attribute("version", kVersion);
  impl_->attribute("fingerprint", fingerprint(columns));
  if (!impl_->images.reset() || !impl_->file.reset()) impl_->check(-1);
}

// -----------------------------------------------------------------------------------------------------------------
// read

namespace {

class Reader {
 public:
  explicit Reader(const std::filesystem::path& path) : path_(path), file_(open(path), H5Fclose) {
    if (file_ < 0)
      fail(fmt::format(
          "cannot open the pack: {} (truncated or damaged: copy it or pack the source again)",
          reason()));
  }

  [[noreturn]] void fail(const std::string& what) const {
    throw DataError(fmt::format("{}: {}", path_.string(), what));
  }

  void check_format() const {
    if (H5Aexists(file_, "format") <= 0 || text("format") != kFormat)
      fail("an HDF5 file, but not a muster pack; make one with `muster pack`");
    const std::int64_t version = integer("version");
    if (version > kVersion)
      fail(
          fmt::format("pack format {} was written by a newer muster, this one reads up to {}: "
                      "update muster or pack "
                      "the source again",
                      version, kVersion));
  }

  std::string text(const char* name) const {
    const Id attribute(H5Aopen(file_, name, H5P_DEFAULT), H5Aclose);
    const Id type(attribute < 0 ? -1 : H5Aget_type(attribute), H5Tclose);
    if (type < 0 || H5Tget_class(type) != H5T_STRING || H5Tis_variable_str(type) > 0)
      fail(fmt::format("attribute '{}' is missing or no text", name));
    std::string value(H5Tget_size(type), '\0');
    if (H5Aread(attribute, type, value.data()) < 0)
      fail(fmt::format("cannot read attribute '{}': {}", name, reason()));
    return value;
  }

  std::int64_t integer(const char* name) const {
    const Id attribute(H5Aopen(file_, name, H5P_DEFAULT), H5Aclose);
    std::int64_t value = 0;
    if (attribute < 0 || H5Aread(attribute, H5T_NATIVE_INT64, &value) < 0)
      fail(fmt::format("attribute '{}' is missing or no integer", name));
    return value;
  }

  Id dataset(const std::string& name) const {
    Id set(H5Dopen2(file_, name.c_str(), H5P_DEFAULT), H5Dclose);
    if (set < 0) fail(fmt::format("dataset '{}' is missing: {}", name, reason()));
    return set;
  }

  std::int64_t length(hid_t set) const {
    const Id space(H5Dget_space(set), H5Sclose);
    return static_cast<std::int64_t>(H5Sget_simple_extent_npoints(space));
  }

  template <typename T>
  void column(std::string_view name, std::vector<T>& values) const {
    const Id set = dataset(std::string(name));
    values.resize(static_cast<std::size_t>(length(set)));
    if (!values.empty() &&
        H5Dread(set, native_type<T>(), H5S_ALL, H5S_ALL, H5P_DEFAULT, values.data()) < 0)
      fail(fmt::format("cannot read dataset '{}': {}", name, reason()));
  }

  void images(PackFile& pack) const {
    const Id set = dataset("images/bytes");
    pack.image_bytes = length(set);
    if (pack.image_bytes == 0) return;
    const haddr_t offset = H5Dget_offset(set);
    if (offset == HADDR_UNDEF) fail("images/bytes is not contiguous");
    pack.images_at = static_cast<std::int64_t>(offset);
    const auto file_bytes = static_cast<std::int64_t>(std::filesystem::file_size(path_));
    if (pack.images_at + pack.image_bytes > file_bytes)
      fail(fmt::format("truncated: images end at byte {}, the file at {}",
                       pack.images_at + pack.image_bytes, file_bytes));
  }

 private:
  // No HDF5 file lock: many ranks read one file, often from a file system without locks.
  hid_t open(const std::filesystem::path& path) const {
    silence();
    std::error_code error;
    if (!std::filesystem::is_regular_file(path, error)) fail("no such pack");
    if (H5Fis_hdf5(path.c_str()) <= 0)
      fail("not a muster pack (no HDF5 file); make one with `muster pack`");
    const Id access(H5Pcreate(H5P_FILE_ACCESS), H5Pclose);
    H5Pset_file_locking(access, false, true);
    return H5Fopen(path.c_str(), H5F_ACC_RDONLY, access);
  }

  std::filesystem::path path_;
  Id file_;
};

}  // namespace

PackFile read_pack_file(const std::filesystem::path& path) {
  const Reader reader(path);
  reader.check_format();
  PackFile pack;
  reader.images(pack);
  for_each_column(pack.columns, [&](std::string_view name, auto& values, std::int64_t) {
    reader.column(name, values);
  });
  check_columns(pack.columns, pack.image_bytes, path.string());
  pack.fingerprint = reader.text("fingerprint");
  if (pack.fingerprint != fingerprint(pack.columns))
    reader.fail(
        "the pack's metadata does not match its fingerprint: storage damage; copy it or pack the "
        "source again");
  return pack;
}

}  // namespace muster::data
