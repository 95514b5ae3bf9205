#include "data/pack/columns.h"

#include <fmt/core.h>

#include <algorithm>
#include <set>

#include "base/error.h"
#include "base/files.h"

namespace muster::data {
namespace {

void add_object(PackColumns& columns, const Object& object) {
  columns.box.insert(columns.box.end(), object.box.begin(), object.box.end());
  columns.area.push_back(object.area);
  columns.category.push_back(object.category);
  columns.crowd.push_back(object.crowd ? 1 : 0);
  columns.caption.add(object.caption);
}

Object object_at(const PackColumns& columns, std::int64_t index) {
  const auto i = static_cast<std::size_t>(index);
  Object object;
  std::copy_n(columns.box.begin() + 4 * index, 4, object.box.begin());
  object.area = columns.area[i];
  object.category = columns.category[i];
  object.crowd = columns.crowd[i] != 0;
  object.caption = columns.caption.at(index);
  return object;
}

// Offsets start at 0, never fall, and end at the length of what they index.
bool is_offset_table(const std::vector<std::int64_t>& offset, std::int64_t rows, std::int64_t end) {
  return static_cast<std::int64_t>(offset.size()) == rows + 1 && offset.front() == 0 &&
         offset.back() == end && std::is_sorted(offset.begin(), offset.end());
}

bool is_text(const TextColumn& column, std::int64_t rows) {
  return is_offset_table(column.offset, rows, static_cast<std::int64_t>(column.bytes.size()));
}

}  // namespace

PackColumns to_columns(const std::vector<Sample>& samples,
                       const std::vector<Category>& categories) {
  PackColumns columns;
  std::set<std::int64_t> active;
  for (const Sample& sample : samples) {
    columns.size.insert(columns.size.end(), {sample.width, sample.height});
    columns.source_id.push_back(sample.source_id);
    columns.name.add(sample.name);
    columns.path.add(sample.image.string());
    columns.prompt.add(sample.prompt);
    columns.answer.add(sample.answer);
    for (const Object& object : sample.objects) {
      add_object(columns, object);
      active.insert(object.category);
    }
    columns.object_offset.push_back(columns.num_objects());
  }
  for (const Category& category : categories) {
    columns.category_id.push_back(category.id);
    columns.category_name.add(category.name);
  }
  columns.active.assign(active.begin(), active.end());
  return columns;
}

std::vector<Sample> to_samples(const PackColumns& columns) {
  std::vector<Sample> samples(static_cast<std::size_t>(columns.num_samples()));
  for (std::size_t i = 0; i < samples.size(); ++i) {
    const auto row = static_cast<std::int64_t>(i);
    Sample& sample = samples[i];
    sample.name = columns.name.at(row);
    sample.image = columns.path.at(row);
    sample.prompt = columns.prompt.at(row);
    sample.answer = columns.answer.at(row);
    sample.source_id = columns.source_id[i];
    sample.width = columns.size[2 * i];
    sample.height = columns.size[2 * i + 1];
    sample.objects.reserve(
        static_cast<std::size_t>(columns.object_offset[i + 1] - columns.object_offset[i]));
    for (std::int64_t k = columns.object_offset[i]; k < columns.object_offset[i + 1]; ++k)
      sample.objects.push_back(object_at(columns, k));
  }
  return samples;
}

std::vector<Category> to_categories(const PackColumns& columns) {
  std::vector<Category> categories;
  for (std::size_t i = 0; i < columns.category_id.size(); ++i)
    categories.push_back(
        {columns.category_id[i], columns.category_name.at(static_cast<std::int64_t>(i))});
  return categories;
}

void check_columns(const PackColumns& c, std::int64_t image_bytes, const std::string& pack) {
  const std::int64_t samples = c.num_samples(), objects = c.num_objects();
  const auto categories = static_cast<std::int64_t>(c.category_id.size());
  const auto length = [](const auto& column) { return static_cast<std::int64_t>(column.size()); };
  const bool sound =
      is_offset_table(c.image_offset, samples, image_bytes) &&
      length(c.checksum) == samples * kChecksumDigits && length(c.size) == 2 * samples &&
      is_text(c.name, samples) && is_text(c.path, samples) && is_text(c.prompt, samples) &&
      is_text(c.answer, samples) && is_offset_table(c.object_offset, samples, objects) &&
      length(c.box) == 4 * objects && length(c.area) == objects && length(c.crowd) == objects &&
      is_text(c.caption, objects) && is_text(c.category_name, categories);
  if (!sound)
    throw DataError(fmt::format(
        "{}: the pack's arrays do not fit together: it is damaged; pack the source again", pack));
}

std::string fingerprint(const PackColumns& columns) {
  std::string digests;
  for_each_column(columns, [&](std::string_view name, const auto& column, std::int64_t) {
    if (name == kPathColumn || name == kPathOffsetColumn) return;
    digests += fmt::format("{} {}\n", name, xxh128(std::as_bytes(std::span(column))));
  });
  return xxh128(std::as_bytes(std::span(digests)));
}

}  // namespace muster::data
