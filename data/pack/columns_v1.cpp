#include "data/pack/columns_v1.h"

#include <span>
#include <string_view>

namespace muster::data {
namespace {

std::string_view checksum_of(const PackColumnsV1& old, std::size_t i) {
  return {reinterpret_cast<const char*>(old.checksum.data()) + i * kChecksumDigits,
          static_cast<std::size_t>(kChecksumDigits)};
}

// The sample without its objects, whose columns are taken over as they are.
Sample sample_of(const PackColumnsV1& old, std::int64_t row) {
  Sample sample;
  sample.name = old.name.view(row);
  sample.source_id = old.source_id[static_cast<std::size_t>(row)];
  if (const auto prompt = old.prompt.view(row); !prompt.empty())
    sample.turns.push_back({Role::kUser, std::string(prompt), false});
  if (const auto answer = old.answer.view(row); !answer.empty())
    sample.turns.push_back({Role::kAssistant, std::string(answer), false});
  return sample;
}

}  // namespace

void check_columns(const PackColumnsV1& c, std::int64_t image_bytes, const std::string& pack) {
  const auto length = [](const auto& column) { return static_cast<std::int64_t>(column.size()); };
  const std::int64_t samples = length(c.source_id), objects = length(c.category);
  const bool sound =
      is_offset_table(c.image_offset, samples, image_bytes) &&
      length(c.checksum) == samples * kChecksumDigits && length(c.size) == 2 * samples &&
      is_text(c.name, samples) && is_text(c.path, samples) && is_text(c.prompt, samples) &&
      is_text(c.answer, samples) && is_offset_table(c.object_offset, samples, objects) &&
      length(c.box) == 4 * objects && length(c.area) == objects && length(c.crowd) == objects &&
      is_text(c.caption, objects) && is_text(c.category_name, length(c.category_id));
  if (!sound) throw_unsound(pack);
}

std::string fingerprint(const PackColumnsV1& columns) {
  Fingerprint all;
  for_each_column_v1(columns, [&](std::string_view name, const auto& column) {
    if (!name.starts_with("samples/path_")) all.add(name, std::as_bytes(std::span(column)));
  });
  return all.digits();
}

PackColumns to_current(const PackColumnsV1& old) {
  PackColumns columns;
  for (std::size_t i = 0; i < old.source_id.size(); ++i) {
    const auto row = static_cast<std::int64_t>(i);
    Sample sample = sample_of(old, row);
    const std::int64_t bytes = old.image_offset[i + 1] - old.image_offset[i];
    if (bytes > 0) {
      const Picture picture{.path = old.path.at(row),
                            .width = old.size[2 * i],
                            .height = old.size[2 * i + 1],
                            .index = columns.num_pictures()};
      add_picture(columns, picture, bytes, checksum_of(old, i));
      sample.pictures.push_back(picture);
    }
    add_sample(columns, sample);
  }
  columns.object_offset = old.object_offset;
  columns.box = old.box;
  columns.area = old.area;
  columns.category = old.category;
  columns.crowd = old.crowd;
  columns.object_picture.assign(old.category.size(), 0);
  columns.object_turn.assign(old.category.size(), -1);
  columns.caption = old.caption;
  columns.category_id = old.category_id;
  columns.category_name = old.category_name;
  columns.active = old.active;
  return columns;
}

}  // namespace muster::data
