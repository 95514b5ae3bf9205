#include <fcntl.h>
#include <fmt/core.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <map>
#include <numeric>
#include <optional>
#include <string>
#include <string_view>
#include <tuple>
#include <utility>

#include "base/error.h"
#include "base/files.h"
#include "base/process/atomic_file.h"
#include "base/process/fd.h"
#include "base/progress.h"
#include "data/pack/columns.h"
#include "data/pack/digest_map.h"
#include "data/pack/hdf5.h"
#include "data/pack/pack.h"

namespace muster::data {
namespace {

constexpr std::size_t kCopyBytes = std::size_t{8} << 20;  // moved from the side file at a time

// Runs `write` and adds what helps to the error of a disk, or a quota, that is full.
template <typename Write>
auto with_advice(const fs::path& pack, Write&& write) {
  try {
    return write();
  } catch (const IoError& error) {
    const std::string_view what = error.what();
    for (const int full : {ENOSPC, EDQUOT, EFBIG})
      if (what.find(std::strerror(full)) != std::string_view::npos)
        throw IoError(fmt::format(
            "{}; make room there, or write the pack elsewhere: {} was not made and what "
            "was there before is as it was",
            what, pack.string()));
    throw;
  }
}

// Throws DataError for a name that occurs twice.
void check_names(const TextOf<ViewedColumn>& name, std::int64_t samples) {
  std::vector<std::int64_t> order(static_cast<std::size_t>(samples));
  std::iota(order.begin(), order.end(), 0);
  std::ranges::sort(order, {}, [&](std::int64_t i) { return name.view(i); });
  const auto twice = std::ranges::adjacent_find(
      order, [&](std::int64_t a, std::int64_t b) { return name.view(a) == name.view(b); });
  if (twice != order.end())
    throw DataError(fmt::format("two samples are called '{}'; names must be unique in a pack",
                                name.view(*twice)));
}

std::vector<std::int64_t> sorted_ids(const std::vector<Category>& categories) {
  std::vector<std::int64_t> ids;
  for (const Category& category : categories) ids.push_back(category.id);
  std::ranges::sort(ids);
  return ids;
}

void check_categories(const PackView& columns, const std::vector<Category>& categories) {
  const std::vector<std::int64_t> ids = sorted_ids(categories);
  if (const auto twice = std::ranges::adjacent_find(ids); twice != ids.end())
    throw DataError(fmt::format("two categories have the id {}", *twice));
  for (std::size_t k = 0; k < columns.category.size(); ++k) {
    if (std::ranges::binary_search(ids, columns.category[k])) continue;
    const auto after =
        std::ranges::upper_bound(columns.object_offset, static_cast<std::int64_t>(k));
    throw DataError(fmt::format("sample '{}': category id {} is not in the category table",
                                columns.name.view(after - columns.object_offset.begin() - 1),
                                columns.category[k]));
  }
}

// The ids that occur, ascending. REQUIRES that all are in the table.
std::vector<std::int64_t> active_ids(std::span<const std::int64_t> of_objects,
                                     const std::vector<Category>& categories) {
  std::vector<std::int64_t> ids = sorted_ids(categories);
  std::vector<bool> seen(ids.size(), false);
  for (const std::int64_t id : of_objects)
    seen[static_cast<std::size_t>(std::ranges::lower_bound(ids, id) - ids.begin())] = true;
  std::size_t kept = 0;
  for (std::size_t i = 0; i < ids.size(); ++i)
    if (seen[i]) ids[kept++] = ids[i];
  ids.resize(kept);
  return ids;
}

// Equal bytes that are turned alike are one picture.
Digest identity_of(const std::string& checksum, int orientation) {
  return digest_of(fmt::format("{} {}", checksum, orientation));
}

fs::path folder_of(const fs::path& file) {
  return file.has_parent_path() ? file.parent_path() : fs::path(".");
}

}  // namespace

struct PackBuilder::Impl {
  explicit Impl(const fs::path& at) : path(at) {
    side.emplace(at.string() + ".images");
    for_each_column(columns, [&](std::string_view, auto& column, std::int64_t) {
      column.place_in(folder_of(path));
    });
  }

  // Judges the columns and completes them with the table of categories.
  void complete(const std::vector<Category>& categories) {
    const PackView view = view_of(columns);
    check_names(view.name, view.num_samples());
    check_categories(view, categories);
    for (const std::int64_t id : active_ids(view.category, categories))
      columns.active.push_back(id);
    for (const Category& category : categories) {
      columns.category_id.push_back(category.id);
      columns.category_name.add(category.name);
    }
    check_columns(view_of(columns), columns.image_offset.back(), path.string());
    for_each_column(columns, [](std::string_view, auto& column, std::int64_t) { column.unmap(); });
  }

  // Copies the side file into the pack and gives its room back behind itself, so that the disk
  // never holds the pictures twice where the file system can do that.
  void move_images(PackWriter& writer) const {
    const std::int64_t end = columns.image_offset.back();
    if (end == 0) return;
    const Fd file = Fd::open(side->part(), O_RDWR);
    std::vector<std::byte> buffer(kCopyBytes);
    for (std::int64_t at = 0; at < end;) {
      const ssize_t n = ::pread(file.get(), buffer.data(), buffer.size(), at);
      if (n < 0 && errno == EINTR) continue;
      if (n <= 0)
        throw IoError(fmt::format("cannot read {} back at byte {}: {}", side->part().string(), at,
                                  n == 0 ? "it ends there" : std::strerror(errno)));
      writer.add_bytes(std::span(buffer).first(static_cast<std::size_t>(n)));
      ::fallocate(file.get(), FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, at, n);
      at += n;
    }
  }

  fs::path path;
  std::optional<AtomicFile> side;  // never committed: it goes with the builder or its pack
  SpooledColumns columns;
  DigestMap pictures;  // by identity_of()
};

PackBuilder::PackBuilder(const fs::path& path) : impl_(std::make_unique<Impl>(path)) {}
PackBuilder::~PackBuilder() = default;

std::int64_t PackBuilder::add_picture(std::span<const std::byte> bytes, const Picture& picture) {
  if (bytes.empty())
    throw DataError(fmt::format("{}: the picture's file is empty", picture.path.string()));
  const std::string checksum = xxh128(bytes);
  SpooledColumns& columns = impl_->columns;
  const std::int64_t next = columns.num_pictures();
  const auto [index, added] = impl_->pictures.emplace(identity_of(checksum, picture.orientation),
                                                      static_cast<std::uint32_t>(next));
  if (!added) return index;
  with_advice(impl_->path, [&] {
    impl_->side->write(bytes);
    data::add_picture(columns, picture, static_cast<std::int64_t>(bytes.size()), checksum);
  });
  return next;
}

void PackBuilder::add_sample(const Sample& sample) {
  for (const Picture& picture : sample.pictures)
    if (picture.index < 0 || picture.index >= impl_->columns.num_pictures())
      throw std::logic_error("PackBuilder::add_sample: a picture that was not added");
  with_advice(impl_->path, [&] { data::add_sample(impl_->columns, sample); });
}

void PackBuilder::finish(const std::vector<Category>& categories) {
  with_advice(impl_->path, [&] {
    impl_->complete(categories);
    AtomicFile file(impl_->path);
    PackWriter writer(file.part(), impl_->columns.image_offset.back());
    impl_->move_images(writer);
    writer.finish(impl_->columns);
    file.commit();
  });
  impl_->side.reset();
}

namespace {

// Adds picture files by their path, each read once.
class PictureFiles {
 public:
  explicit PictureFiles(PackBuilder& builder) : builder_(builder) {}

  std::int64_t add(const Picture& picture, const std::string& sample) {
    const auto [place, added] =
        known_.try_emplace({picture.path, picture.orientation, picture.width, picture.height}, -1);
    if (!added) return place->second;
    std::optional<MappedFile> file;
    try {
      file.emplace(picture.path);
    } catch (const IoError& error) {
      throw DataError(fmt::format("sample '{}': {}", sample, error.what()));
    }
    place->second = builder_.add_picture(file->bytes(), picture);
    return place->second;
  }

 private:
  PackBuilder& builder_;
  std::map<std::tuple<fs::path, int, std::int64_t, std::int64_t>, std::int64_t> known_;
};

}  // namespace

void write_pack(const fs::path& path, const std::vector<Sample>& samples,
                const std::vector<Category>& categories) {
  PackBuilder builder(path);
  PictureFiles files(builder);
  Progress progress("packing", static_cast<std::int64_t>(samples.size()));
  for (Sample sample : samples) {
    for (Picture& picture : sample.pictures) picture.index = files.add(picture, sample.name);
    builder.add_sample(sample);
    progress.add();
  }
  builder.finish(categories);
}

}  // namespace muster::data
