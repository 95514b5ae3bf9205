#include "data/pack/columns.h"

#include <fmt/core.h>

#include <algorithm>

#include "base/error.h"
#include "base/files.h"

namespace muster::data {
namespace {

constexpr int kOrientations = 8;  // EXIF's

template <typename Columns>
void add_object(Columns& columns, const Object& object) {
  for (const double coordinate : object.box) columns.box.push_back(coordinate);
  columns.area.push_back(object.area);
  columns.category.push_back(object.category);
  columns.crowd.push_back(object.crowd ? 1 : 0);
  columns.object_picture.push_back(object.picture);
  columns.object_turn.push_back(object.turn);
  columns.caption.add(object.caption);
}

Object object_at(const PackColumns& columns, std::int64_t index) {
  const auto i = static_cast<std::size_t>(index);
  Object object;
  std::copy_n(columns.box.begin() + 4 * index, 4, object.box.begin());
  object.area = columns.area[i];
  object.category = columns.category[i];
  object.crowd = columns.crowd[i] != 0;
  object.picture = columns.object_picture[i];
  object.turn = columns.object_turn[i];
  object.caption = columns.caption.at(index);
  return object;
}

Picture picture_at(const PackColumns& columns, std::int64_t index) {
  const auto i = static_cast<std::size_t>(index);
  return {.path = columns.path.at(index),
          .width = columns.size[2 * i],
          .height = columns.size[2 * i + 1],
          .orientation = columns.orientation[i],
          .index = index};
}

Turn turn_at(const PackColumns& columns, std::int64_t index) {
  const auto i = static_cast<std::size_t>(index);
  return {.role = static_cast<Role>(columns.role[i]),
          .text = columns.text.at(index),
          .lists_objects = columns.lists_objects[i] != 0};
}

// The rows of sample i in what `offset` indexes.
struct Rows {
  std::int64_t begin, end;
  std::size_t count() const { return static_cast<std::size_t>(end - begin); }
};

Rows rows_of(std::span<const std::int64_t> offset, std::int64_t i) {
  const auto row = static_cast<std::size_t>(i);
  return {offset[row], offset[row + 1]};
}

template <typename Column>
std::int64_t length(const Column& column) {
  return static_cast<std::int64_t>(column.size());
}

template <typename T>
bool all_within(std::span<const T> values, std::int64_t least, std::int64_t end) {
  return std::ranges::all_of(values, [&](T value) { return value >= least && value < end; });
}

bool has_sound_pictures(const PackView& c, std::int64_t image_bytes) {
  const std::int64_t pictures = c.num_pictures();
  return is_offset_table(c.image_offset, pictures, image_bytes) &&
         length(c.checksum) == pictures * kChecksumDigits && length(c.size) == 2 * pictures &&
         is_text(c.path, pictures) && all_within(c.orientation, 1, kOrientations + 1);
}

bool has_sound_samples(const PackView& c) {
  const std::int64_t samples = c.num_samples();
  return length(c.boxed) == samples && is_text(c.name, samples) &&
         is_offset_table(c.picture_offset, samples, length(c.picture)) &&
         all_within(c.picture, 0, c.num_pictures()) &&
         is_offset_table(c.turn_offset, samples, c.num_turns()) &&
         is_offset_table(c.object_offset, samples, c.num_objects());
}

bool has_sound_turns(const PackView& c) {
  return length(c.lists_objects) == c.num_turns() && is_text(c.text, c.num_turns()) &&
         all_within(c.role, 0, static_cast<std::int64_t>(Role::kAssistant) + 1);
}

bool has_sound_objects(const PackView& c) {
  const std::int64_t objects = c.num_objects();
  return length(c.box) == 4 * objects && length(c.area) == objects && length(c.crowd) == objects &&
         length(c.object_picture) == objects && length(c.object_turn) == objects &&
         is_text(c.caption, objects);
}

// Objects lie in pictures and are listed by turns that their sample has.
bool has_sound_references(const PackView& c) {
  for (std::int64_t i = 0; i < c.num_samples(); ++i) {
    const auto pictures = static_cast<std::int64_t>(rows_of(c.picture_offset, i).count());
    const auto turns = static_cast<std::int64_t>(rows_of(c.turn_offset, i).count());
    const Rows objects = rows_of(c.object_offset, i);
    for (auto k = static_cast<std::size_t>(objects.begin);
         k < static_cast<std::size_t>(objects.end); ++k)
      if (c.object_picture[k] < 0 || c.object_picture[k] >= pictures || c.object_turn[k] < -1 ||
          c.object_turn[k] >= turns)
        return false;
  }
  return true;
}

// The columns' bytes, in the order of the table.
template <typename Columns, typename View>
PackView viewed(Columns& columns, const View& view) {
  std::vector<std::span<const std::byte>> all;
  for_each_column(columns, [&](std::string_view, auto& column, std::int64_t) {
    all.push_back(std::as_bytes(view(column)));
  });
  PackView made;
  auto next = all.begin();
  for_each_column(made,
                  [&]<typename T>(std::string_view, std::span<const T>& column, std::int64_t) {
                    column = {reinterpret_cast<const T*>(next->data()), next->size() / sizeof(T)};
                    ++next;
                  });
  return made;
}

}  // namespace

template <template <typename> typename Column>
void add_picture(ColumnsOf<Column>& columns, const Picture& picture, std::int64_t bytes,
                 std::string_view checksum) {
  columns.image_offset.push_back(columns.image_offset.back() + bytes);
  append_bytes(columns.checksum, checksum);
  columns.size.push_back(picture.width);
  columns.size.push_back(picture.height);
  columns.orientation.push_back(static_cast<std::uint8_t>(picture.orientation));
  columns.path.add(picture.path.string());
}

template <template <typename> typename Column>
void add_sample(ColumnsOf<Column>& columns, const Sample& sample) {
  columns.source_id.push_back(sample.source_id);
  columns.boxed.push_back(sample.boxed ? 1 : 0);
  columns.name.add(sample.name);
  for (const Picture& picture : sample.pictures) columns.picture.push_back(picture.index);
  columns.picture_offset.push_back(length(columns.picture));
  for (const Turn& turn : sample.turns) {
    columns.role.push_back(static_cast<std::uint8_t>(turn.role));
    columns.lists_objects.push_back(turn.lists_objects ? 1 : 0);
    columns.text.add(turn.text);
  }
  columns.turn_offset.push_back(columns.num_turns());
  for (const Object& object : sample.objects) add_object(columns, object);
  columns.object_offset.push_back(columns.num_objects());
}

template void add_picture(PackColumns&, const Picture&, std::int64_t, std::string_view);
template void add_picture(SpooledColumns&, const Picture&, std::int64_t, std::string_view);
template void add_sample(PackColumns&, const Sample&);
template void add_sample(SpooledColumns&, const Sample&);

PackView view_of(const PackColumns& columns) {
  return viewed(columns,
                []<typename T>(const std::vector<T>& column) { return std::span(column); });
}

PackView view_of(SpooledColumns& columns) {
  return viewed(columns, []<typename T>(SpooledColumn<T>& column) { return column.map(); });
}

Sample sample_at(const PackColumns& columns, std::int64_t index) {
  Sample sample;
  sample.name = columns.name.at(index);
  sample.source_id = columns.source_id[static_cast<std::size_t>(index)];
  sample.boxed = columns.boxed[static_cast<std::size_t>(index)] != 0;
  const Rows pictures = rows_of(columns.picture_offset, index);
  sample.pictures.reserve(pictures.count());
  for (std::int64_t k = pictures.begin; k < pictures.end; ++k)
    sample.pictures.push_back(picture_at(columns, columns.picture[static_cast<std::size_t>(k)]));
  const Rows turns = rows_of(columns.turn_offset, index);
  sample.turns.reserve(turns.count());
  for (std::int64_t k = turns.begin; k < turns.end; ++k)
    sample.turns.push_back(turn_at(columns, k));
  const Rows objects = rows_of(columns.object_offset, index);
  sample.objects.reserve(objects.count());
  for (std::int64_t k = objects.begin; k < objects.end; ++k)
    sample.objects.push_back(object_at(columns, k));
  return sample;
}

std::string_view checksum_at(const PackColumns& columns, std::int64_t picture) {
  return {reinterpret_cast<const char*>(columns.checksum.data()) + picture * kChecksumDigits,
          static_cast<std::size_t>(kChecksumDigits)};
}

std::vector<Category> to_categories(const PackColumns& columns) {
  std::vector<Category> categories;
  for (std::size_t i = 0; i < columns.category_id.size(); ++i)
    categories.push_back(
        {columns.category_id[i], columns.category_name.at(static_cast<std::int64_t>(i))});
  return categories;
}

bool is_offset_table(std::span<const std::int64_t> offset, std::int64_t rows, std::int64_t end) {
  return length(offset) == rows + 1 && offset.front() == 0 && offset.back() == end &&
         std::is_sorted(offset.begin(), offset.end());
}

bool is_text(const TextOf<ViewedColumn>& column, std::int64_t rows) {
  return is_offset_table(column.offset, rows, length(column.bytes));
}

bool is_text(const TextColumn& column, std::int64_t rows) {
  return is_offset_table(column.offset, rows, length(column.bytes));
}

void throw_unsound(const std::string& pack) {
  throw DataError(fmt::format(
      "{}: the pack's arrays do not fit together: it is damaged; pack the source again", pack));
}

void check_columns(const PackView& c, std::int64_t image_bytes, const std::string& pack) {
  const bool sound = has_sound_pictures(c, image_bytes) && has_sound_samples(c) &&
                     has_sound_turns(c) && has_sound_objects(c) && has_sound_references(c) &&
                     is_text(c.category_name, length(c.category_id));
  if (!sound) throw_unsound(pack);
}

void Fingerprint::add(std::string_view dataset, std::span<const std::byte> bytes) {
  digests_ += fmt::format("{} {}\n", dataset, xxh128(bytes));
}

std::string Fingerprint::digits() const { return xxh128(std::as_bytes(std::span(digests_))); }

bool is_fingerprinted(std::string_view dataset) { return !dataset.starts_with("images/path_"); }

std::string fingerprint(const PackColumns& columns) {
  Fingerprint all;
  for_each_column(columns, [&](std::string_view name, const auto& column, std::int64_t) {
    if (is_fingerprinted(name)) all.add(name, std::as_bytes(std::span(column)));
  });
  return all.digits();
}

}  // namespace muster::data
