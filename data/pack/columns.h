// A pack's content as flat arrays, one per HDF5 dataset: the table below is the format
// (docs/pack_format.md). They are what a pack keeps in memory, samples are made from them on
// demand; while a pack is made they are spooled.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "data/pack/sample.h"
#include "data/pack/spool.h"

namespace muster::data {

// Columns in memory, as a pack that is read has them.
template <typename T>
using KeptColumn = std::vector<T>;
// Columns that lie elsewhere.
template <typename T>
using ViewedColumn = std::span<const T>;

inline void append_bytes(KeptColumn<std::uint8_t>& column, std::string_view bytes) {
  column.insert(column.end(), bytes.begin(), bytes.end());
}
inline void append_bytes(SpooledColumn<std::uint8_t>& column, std::string_view bytes) {
  column.append({reinterpret_cast<const std::uint8_t*>(bytes.data()), bytes.size()});
}

// A column that grows begins with the offset of its first row.
template <typename Column>
Column offsets() {
  Column column;
  if constexpr (requires { column.push_back(0); }) column.push_back(0);
  return column;
}

// Strings end to end, UTF-8, with where each begins.
template <template <typename> typename Column>
struct TextOf {
  Column<std::uint8_t> bytes;
  Column<std::int64_t> offset = offsets<Column<std::int64_t>>();  // [strings + 1]

  void add(std::string_view text) {
    append_bytes(bytes, text);
    offset.push_back(static_cast<std::int64_t>(bytes.size()));
  }
  std::string_view view(std::int64_t i) const {
    const auto row = static_cast<std::size_t>(i);
    return {reinterpret_cast<const char*>(bytes.data()) + offset[row],
            static_cast<std::size_t>(offset[row + 1] - offset[row])};
  }
  std::string at(std::int64_t i) const { return std::string(view(i)); }
};

template <template <typename> typename Column>
struct ColumnsOf {
  using Offsets = Column<std::int64_t>;

  // P pictures
  Offsets image_offset = offsets<Offsets>();  // [P + 1] into images/bytes
  Column<std::uint8_t> checksum;     // [P, 32] hex digits of XXH3-128 over the picture's bytes
  Column<std::int64_t> size;         // [P, 2] width, height after turning
  Column<std::uint8_t> orientation;  // [P] EXIF's, 1..8: how the bytes are turned
  TextOf<Column> path;               // [P]
  // N samples
  Column<std::int64_t> source_id;               // [N]
  Column<std::uint8_t> boxed;                   // [N] 1: somebody annotated boxes
  TextOf<Column> name;                          // [N]
  Offsets picture_offset = offsets<Offsets>();  // [N + 1] into `picture`
  Column<std::int64_t> picture;                 // [S] rows of the pictures' table
  Offsets turn_offset = offsets<Offsets>();     // [N + 1] into the turns
  Offsets object_offset = offsets<Offsets>();   // [N + 1] into the objects
  // T turns
  Column<std::uint8_t> role;           // [T] Role
  Column<std::uint8_t> lists_objects;  // [T]
  TextOf<Column> text;                 // [T]
  // M objects
  Column<double> box;                   // [M, 4] x1, y1, x2, y2 in pixels of its picture
  Column<double> area;                  // [M]
  Column<std::int64_t> category;        // [M] original ids
  Column<std::uint8_t> crowd;           // [M]
  Column<std::int64_t> object_picture;  // [M] which of the sample's pictures
  Column<std::int64_t> object_turn;     // [M] which of the sample's turns lists it, or -1
  TextOf<Column> caption;               // [M]
  // categories
  Column<std::int64_t> category_id;  // [C] original ids
  TextOf<Column> category_name;      // [C]
  Column<std::int64_t>
      active;  // [K] original ids of the categories that occur, ascending: index k of the class map

  std::int64_t num_samples() const { return static_cast<std::int64_t>(source_id.size()); }
  std::int64_t num_pictures() const { return static_cast<std::int64_t>(orientation.size()); }
  std::int64_t num_turns() const { return static_cast<std::int64_t>(role.size()); }
  std::int64_t num_objects() const { return static_cast<std::int64_t>(category.size()); }
};

using TextColumn = TextOf<KeptColumn>;
using PackColumns = ColumnsOf<KeptColumn>;
using PackView = ColumnsOf<ViewedColumn>;
using SpooledColumns = ColumnsOf<SpooledColumn>;  // of a pack that is being made

constexpr std::int64_t kChecksumDigits = 32;

// visit(dataset name, vector, columns per row) for every dataset but images/bytes.
template <typename Columns, typename Visit>
void for_each_column(Columns& c, Visit&& visit) {
  visit("images/offset", c.image_offset, 1);
  visit("images/checksum", c.checksum, kChecksumDigits);
  visit("images/size", c.size, 2);
  visit("images/orientation", c.orientation, 1);
  visit("images/path_bytes", c.path.bytes, 1);
  visit("images/path_offset", c.path.offset, 1);
  visit("samples/source_id", c.source_id, 1);
  visit("samples/boxed", c.boxed, 1);
  visit("samples/name_bytes", c.name.bytes, 1);
  visit("samples/name_offset", c.name.offset, 1);
  visit("samples/picture_offset", c.picture_offset, 1);
  visit("samples/picture", c.picture, 1);
  visit("samples/turn_offset", c.turn_offset, 1);
  visit("turns/role", c.role, 1);
  visit("turns/lists_objects", c.lists_objects, 1);
  visit("turns/text_bytes", c.text.bytes, 1);
  visit("turns/text_offset", c.text.offset, 1);
  visit("objects/offset", c.object_offset, 1);
  visit("objects/box", c.box, 4);
  visit("objects/area", c.area, 1);
  visit("objects/category", c.category, 1);
  visit("objects/crowd", c.crowd, 1);
  visit("objects/picture", c.object_picture, 1);
  visit("objects/turn", c.object_turn, 1);
  visit("objects/caption_bytes", c.caption.bytes, 1);
  visit("objects/caption_offset", c.caption.offset, 1);
  visit("categories/id", c.category_id, 1);
  visit("categories/name_bytes", c.category_name.bytes, 1);
  visit("categories/name_offset", c.category_name.offset, 1);
  visit("categories/active", c.active, 1);
}

// Appends. `bytes` and `checksum` are the picture's stored bytes' number and digest.
template <template <typename> typename Column>
void add_picture(ColumnsOf<Column>& columns, const Picture& picture, std::int64_t bytes,
                 std::string_view checksum);
template <template <typename> typename Column>
void add_sample(ColumnsOf<Column>& columns, const Sample& sample);

Sample sample_at(const PackColumns& columns, std::int64_t index);
std::string_view checksum_at(const PackColumns& columns, std::int64_t picture);  // hex digits
std::vector<Category> to_categories(const PackColumns& columns);

// Views of all columns, which stay where they are: until a spooled one grows, or is unmapped.
PackView view_of(const PackColumns& columns);
PackView view_of(SpooledColumns& columns);

// Throws DataError naming `pack` when array lengths, offsets or references do not fit together.
void check_columns(const PackView& columns, std::int64_t image_bytes, const std::string& pack);

// Offsets start at 0, never fall, and end at the length of what they index.
bool is_offset_table(std::span<const std::int64_t> offset, std::int64_t rows, std::int64_t end);
bool is_text(const TextOf<ViewedColumn>& column, std::int64_t rows);
bool is_text(const TextColumn& column, std::int64_t rows);
[[noreturn]] void throw_unsound(const std::string& pack);

// XXH3-128 over the datasets' digests, in the order they are added.
class Fingerprint {
 public:
  void add(std::string_view dataset, std::span<const std::byte> bytes);
  std::string digits() const;

 private:
  std::string digests_;
};

// Of every column but the source paths: the same content packed from another folder has the same
// fingerprint.
bool is_fingerprinted(std::string_view dataset);
std::string fingerprint(const PackColumns& columns);

}  // namespace muster::data
