#include "data/pack/hdf5.h"

#include <fmt/core.h>

#include <string_view>

#include "base/error.h"
#include "base/hdf5/hdf5_file.h"
#include "data/pack/columns_v1.h"
#include "data/pack/seal.h"

namespace muster::data {
namespace {

constexpr const char* kFormat = "muster pack";
constexpr const char* kImages = "images/bytes";
constexpr std::int64_t kVersion = 2;

class Reader {
 public:
  explicit Reader(const std::filesystem::path& path) : path_(path), file_(open(path)) {}

  [[noreturn]] void fail(const std::string& what) const {
    throw DataError(fmt::format("{}: {}", path_.string(), what));
  }

  // Returns the format's version: 1 or the one that is written.
  std::int64_t check_format() const {
    if (!file_.has_attribute("format") || file_.read_text("format") != kFormat)
      fail("an HDF5 file, but not a muster pack; make one with `muster pack`");
    const std::int64_t version = file_.read_integer("version");
    if (version > kVersion)
      fail(
          fmt::format("pack format {} was written by a newer muster, this one reads up to {}: "
                      "update muster or pack the source again",
                      version, kVersion));
    return version;
  }

  template <typename T>
  void column(std::string_view name, std::vector<T>& values) const {
    values = file_.read<T>(std::string(name));
  }

  std::string fingerprint() const { return file_.read_text("fingerprint"); }

  void images(PackFile& pack) const {
    pack.image_bytes = file_.length(kImages);
    if (pack.image_bytes == 0) return;
    pack.images_at = file_.offset(kImages);
    if (pack.images_at < 0) fail("images/bytes is not contiguous");
    const auto file_bytes = static_cast<std::int64_t>(std::filesystem::file_size(path_));
    if (pack.images_at + pack.image_bytes > file_bytes)
      fail(fmt::format("truncated: images end at byte {}, the file at {}",
                       pack.images_at + pack.image_bytes, file_bytes));
  }

 private:
  Hdf5File open(const std::filesystem::path& path) const {
    std::error_code error;
    if (!std::filesystem::is_regular_file(path, error)) fail("no such pack");
    check_seal(path);
    try {
      return Hdf5File::open(path);
    } catch (const IoError& failure) {
      throw DataError(
          fmt::format("cannot open the pack: {} (truncated or damaged: copy it or pack the source "
                      "again)",
                      failure.what()));
    }
  }

  std::filesystem::path path_;
  Hdf5File file_;
};

// Columns of either format, as they were when the pack was written.
template <typename Columns>
void check_fingerprint(const Reader& reader, const Columns& columns, PackFile& pack) {
  pack.fingerprint = reader.fingerprint();
  if (pack.fingerprint != fingerprint(columns))
    reader.fail(
        "the pack's metadata does not match its fingerprint: storage damage; copy it or pack the "
        "source again");
}

PackFile read_whole(const std::filesystem::path& path) {
  const Reader reader(path);
  const std::int64_t version = reader.check_format();
  PackFile pack;
  reader.images(pack);
  if (version == 1) {
    PackColumnsV1 columns;
    for_each_column_v1(columns,
                       [&](std::string_view name, auto& values) { reader.column(name, values); });
    check_columns(columns, pack.image_bytes, path.string());
    check_fingerprint(reader, columns, pack);
    pack.columns = to_current(columns);
    return pack;
  }
  for_each_column(pack.columns, [&](std::string_view name, auto& values, std::int64_t) {
    reader.column(name, values);
  });
  check_columns(view_of(pack.columns), pack.image_bytes, path.string());
  check_fingerprint(reader, pack.columns, pack);
  return pack;
}

}  // namespace

struct PackWriter::Impl {
  explicit Impl(const std::filesystem::path& at)
      : path(at), file(Hdf5File::create(path, Hdf5File::Metadata::kAnyReader, kSealBytes)) {}

  std::filesystem::path path;
  Hdf5File file;
  std::int64_t written = 0;  // of images/bytes
};

PackWriter::PackWriter(const std::filesystem::path& path, std::int64_t image_bytes)
    : impl_(std::make_unique<Impl>(path)) {
  impl_->file.make<std::uint8_t>(kImages, image_bytes, 1, Hdf5File::Storage::kContiguous);
}
PackWriter::~PackWriter() = default;

void PackWriter::add_bytes(std::span<const std::byte> bytes) {
  if (bytes.empty()) return;
  const std::span values(reinterpret_cast<const std::uint8_t*>(bytes.data()), bytes.size());
  impl_->file.write_part(kImages, impl_->written, values);
  impl_->written += static_cast<std::int64_t>(bytes.size());
}

// One column is mapped at a time.
void PackWriter::finish(SpooledColumns& columns) {
  Fingerprint content;
  for_each_column(columns, [&]<typename T>(std::string_view name, SpooledColumn<T>& column,
                                           std::int64_t width) {
    const std::span<const T> values = column.map();
    impl_->file.write(std::string(name), values, Hdf5File::Storage::kContiguous, width);
    if (is_fingerprinted(name)) content.add(name, std::as_bytes(values));
    column.unmap();
  });
  impl_->file.write_text("format", kFormat);
  impl_->file.write_integer("version", kVersion);
  impl_->file.write_text("fingerprint", content.digits());
  const std::int64_t begin = impl_->written > 0 ? impl_->file.offset(kImages) : kSealBytes;
  impl_->file.close();
  write_seal(impl_->path, {begin, begin + impl_->written});
}

// What the file itself gets wrong is an error of the data, whoever notices it.
PackFile read_pack_file(const std::filesystem::path& path) {
  try {
    return read_whole(path);
  } catch (const IoError& error) {
    throw DataError(error.what());
  }
}

}  // namespace muster::data
