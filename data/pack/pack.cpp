#include "data/pack/pack.h"

#include <fcntl.h>
#include <fmt/core.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <map>
#include <string_view>
#include <utility>

#include "base/error.h"
#include "base/files.h"
#include "base/process/fd.h"
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
    columns = std::move(file.columns);
    categories = to_categories(columns);
    class_map = class_map_of(columns, path.string());
    images_at = file.images_at;
    fingerprint = std::move(file.fingerprint);
    fd = Fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
    if (!fd)
      throw DataError(
          fmt::format("{}: cannot open the pack: {}", path.string(), std::strerror(errno)));
  }

  [[noreturn]] void damaged(std::int64_t picture, const std::string& found) const {
    throw DataError(fmt::format(
        "{}: picture {} ({}): {}: storage damage since packing; copy the pack again from a good "
        "source",
        path.string(), picture, columns.path.view(picture), found));
  }

  fs::path path;
  Fd fd;
  PackColumns columns;
  std::vector<Category> categories;
  ClassMap class_map;
  std::int64_t images_at = 0;
  std::string fingerprint;
};

Pack::Pack(const fs::path& path) : impl_(std::make_unique<Impl>(path)) {}
Pack::~Pack() = default;
Pack::Pack(Pack&&) noexcept = default;

std::int64_t Pack::size() const { return impl_->columns.num_samples(); }
std::int64_t Pack::num_pictures() const { return impl_->columns.num_pictures(); }
const std::vector<Category>& Pack::categories() const { return impl_->categories; }
const ClassMap& Pack::class_map() const { return impl_->class_map; }
std::string Pack::fingerprint() const { return impl_->fingerprint; }
const fs::path& Pack::path() const { return impl_->path; }

Sample Pack::sample(std::int64_t index) const {
  if (index < 0 || index >= size())
    throw DataError(fmt::format("{}: no sample {}: it has {}", path().string(), index, size()));
  return sample_at(impl_->columns, index);
}

std::vector<std::byte> Pack::picture_bytes(std::int64_t picture) const {
  const PackColumns& columns = impl_->columns;
  if (picture < 0 || picture >= num_pictures())
    throw DataError(
        fmt::format("{}: no picture {}: it has {}", path().string(), picture, num_pictures()));
  const auto i = static_cast<std::size_t>(picture);
  const std::int64_t begin = columns.image_offset[i];
  std::vector<std::byte> bytes(static_cast<std::size_t>(columns.image_offset[i + 1] - begin));
  for (std::size_t done = 0; done < bytes.size();) {
    const ssize_t n =
        ::pread(impl_->fd.get(), bytes.data() + done, bytes.size() - done,
                static_cast<off_t>(impl_->images_at + begin) + static_cast<off_t>(done));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) impl_->damaged(picture, fmt::format("cannot read it: {}", std::strerror(errno)));
    if (n == 0)
      impl_->damaged(picture, fmt::format("the file ends {} bytes early", bytes.size() - done));
    done += static_cast<std::size_t>(n);
  }
  const std::string_view expected = checksum_at(columns, picture);
  const std::string found = xxh128(bytes);
  if (found != expected)
    impl_->damaged(picture, fmt::format("its checksum is {}, expected {}", found, expected));
  return bytes;
}

}  // namespace muster::data
