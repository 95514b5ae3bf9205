#include "data/pack/pack.h"

#include <fcntl.h>
#include <fmt/core.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <optional>
#include <set>
#include <string_view>
#include <unordered_set>
#include <utility>

#include "base/error.h"
#include "base/files.h"
#include "base/process/atomic_file.h"
#include "base/process/fd.h"
#include "base/progress.h"
#include "data/pack/columns.h"
#include "data/pack/hdf5.h"

namespace muster::data {
namespace {

ClassMap class_map_of(const PackColumns& columns, const std::string& pack) {
  std::map<std::int64_t, std::string> names;
  for (Category& category : to_categories(columns)) names[category.id] = std::move(category.name);
  std::vector<Category> active;
  for (const std::int64_t id : columns.active) {
    const auto name = names.find(id);
    if (name == names.end())
      throw DataError(
          fmt::format("{}: category id {} has no entry in the category table", pack, id));
    active.push_back({id, name->second});
  }
  return ClassMap(std::move(active));
}

}  // namespace

struct Pack::Impl {
  explicit Impl(const fs::path& at) : path(at) {
    PackFile file = read_pack_file(path);
    samples = to_samples(file.columns);
    categories = to_categories(file.columns);
    class_map = class_map_of(file.columns, path.string());
    offset = std::move(file.columns.image_offset);
    checksum = std::move(file.columns.checksum);
    images_at = file.images_at;
    fingerprint = std::move(file.fingerprint);
    fd = Fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
    if (!fd)
      throw DataError(
          fmt::format("{}: cannot open the pack: {}", path.string(), std::strerror(errno)));
  }

  [[noreturn]] void damaged(std::int64_t index, const std::string& found) const {
    throw DataError(fmt::format(
        "{}: sample '{}': {}: storage damage since packing; copy the pack again from a good source",
        path.string(), samples[index].name, found));
  }

  fs::path path;
  Fd fd;
  std::vector<Sample> samples;
  std::vector<Category> categories;
  ClassMap class_map;
  std::vector<std::int64_t> offset;    // [N + 1]
  std::vector<std::uint8_t> checksum;  // [N, 32]
  std::int64_t images_at = 0;
  std::string fingerprint;
};

Pack::Pack(const fs::path& path) : impl_(std::make_unique<Impl>(path)) {}
Pack::~Pack() = default;
Pack::Pack(Pack&&) noexcept = default;

std::int64_t Pack::size() const { return static_cast<std::int64_t>(impl_->samples.size()); }
const Sample& Pack::sample(std::int64_t index) const { return impl_->samples.at(index); }
const std::vector<Category>& Pack::categories() const { return impl_->categories; }
const ClassMap& Pack::class_map() const { return impl_->class_map; }
std::string Pack::fingerprint() const { return impl_->fingerprint; }
const fs::path& Pack::path() const { return impl_->path; }

std::vector<std::byte> Pack::image_bytes(std::int64_t index) const {
  const auto i = static_cast<std::size_t>(index);
  const std::int64_t begin = impl_->offset.at(i);
  std::vector<std::byte> bytes(static_cast<std::size_t>(impl_->offset.at(i + 1) - begin));
  for (std::size_t done = 0; done < bytes.size();) {
    const ssize_t n =
        ::pread(impl_->fd.get(), bytes.data() + done, bytes.size() - done,
                static_cast<off_t>(impl_->images_at + begin) + static_cast<off_t>(done));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0)
      impl_->damaged(index, fmt::format("cannot read its image: {}", std::strerror(errno)));
    if (n == 0)
      impl_->damaged(index, fmt::format("the file ends {} bytes early", bytes.size() - done));
    done += static_cast<std::size_t>(n);
  }
  const std::string_view expected(
      reinterpret_cast<const char*>(impl_->checksum.data()) + i * kChecksumDigits, kChecksumDigits);
  const std::string found = xxh128(bytes);
  if (found != expected)
    impl_->damaged(index, fmt::format("checksum of its image is {}, expected {}", found, expected));
  return bytes;
}

// ----------------------------------------------------------------------------------------------------------------
// write

namespace {

void check_unique(const std::vector<Sample>& samples, const std::vector<Category>& categories) {
  std::unordered_set<std::string_view> names;
  for (const Sample& sample : samples)
    if (!names.insert(sample.name).second)
      throw DataError(
          fmt::format("two samples are called '{}'; names must be unique in a pack", sample.name));
  std::set<std::int64_t> ids;
  for (const Category& category : categories)
    if (!ids.insert(category.id).second)
      throw DataError(fmt::format("two categories have the id {}", category.id));
  for (const Sample& sample : samples)
    for (const Object& object : sample.objects)
      if (!ids.contains(object.category))
        throw DataError(fmt::format("sample '{}': category id {} is not in the category table",
                                    sample.name, object.category));
}

void measure_images(const std::vector<Sample>& samples, PackColumns& columns) {
  for (const Sample& sample : samples) {
    std::error_code error;
    const auto bytes = sample.has_image() ? fs::file_size(sample.image, error) : 0;
    if (error)
      throw DataError(fmt::format("sample '{}': cannot read {}: {}", sample.name,
                                  sample.image.string(), error.message()));
    columns.image_offset.push_back(columns.image_offset.back() + static_cast<std::int64_t>(bytes));
  }
}

void write_images(const std::vector<Sample>& samples, PackColumns& columns, PackWriter& writer) {
  Progress progress("packing", static_cast<std::int64_t>(samples.size()));
  for (std::size_t i = 0; i < samples.size(); ++i) {
    std::optional<MappedFile> file;
    if (samples[i].has_image()) file.emplace(samples[i].image);
    const std::span<const std::byte> bytes = file ? file->bytes() : std::span<const std::byte>{};
    if (static_cast<std::int64_t>(bytes.size()) !=
        columns.image_offset[i + 1] - columns.image_offset[i])
      throw DataError(fmt::format("sample '{}': {} changed while it was packed", samples[i].name,
                                  samples[i].image.string()));
    const std::string digits = xxh128(bytes);
    columns.checksum.insert(columns.checksum.end(), digits.begin(), digits.end());
    writer.add_image(bytes);
    progress.add();
  }
}

}  // namespace

void write_pack(const fs::path& path, const std::vector<Sample>& samples,
                const std::vector<Category>& categories) {
  check_unique(samples, categories);
  PackColumns columns = to_columns(samples, categories);
  measure_images(samples, columns);
  AtomicFile file(path);
  PackWriter writer(file.part(), columns.image_offset.back());
  write_images(samples, columns, writer);
  writer.finish(columns);
  file.commit();
}

}  // namespace muster::data
