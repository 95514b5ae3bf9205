// Packs of format 1, which muster wrote before samples had turns: one picture a sample at most, one
// question and one answer. They are read, never written.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "data/pack/columns.h"

namespace muster::data {

struct PackColumnsV1 {
  // N samples; a sample without a picture has an empty range of bytes
  std::vector<std::int64_t> image_offset;  // [N + 1] into images/bytes
  std::vector<std::uint8_t> checksum;      // [N, 32]
  std::vector<std::int64_t> size;          // [N, 2] width, height
  std::vector<std::int64_t> source_id;     // [N]
  TextColumn name, path, prompt, answer;   // [N]
  // M objects
  std::vector<std::int64_t> object_offset;  // [N + 1]
  std::vector<double> box;                  // [M, 4]
  std::vector<double> area;                 // [M]
  std::vector<std::int64_t> category;       // [M]
  std::vector<std::uint8_t> crowd;          // [M]
  TextColumn caption;                       // [M]
  // categories
  std::vector<std::int64_t> category_id;  // [C]
  TextColumn category_name;               // [C]
  std::vector<std::int64_t> active;       // [K]
};

template <typename Columns, typename Visit>
void for_each_column_v1(Columns& c, Visit&& visit) {
  visit("images/offset", c.image_offset);
  visit("images/checksum", c.checksum);
  visit("samples/size", c.size);
  visit("samples/source_id", c.source_id);
  visit("samples/name_bytes", c.name.bytes);
  visit("samples/name_offset", c.name.offset);
  visit("samples/path_bytes", c.path.bytes);
  visit("samples/path_offset", c.path.offset);
  visit("samples/prompt_bytes", c.prompt.bytes);
  visit("samples/prompt_offset", c.prompt.offset);
  visit("samples/answer_bytes", c.answer.bytes);
  visit("samples/answer_offset", c.answer.offset);
  visit("objects/offset", c.object_offset);
  visit("objects/box", c.box);
  visit("objects/area", c.area);
  visit("objects/category", c.category);
  visit("objects/crowd", c.crowd);
  visit("objects/caption_bytes", c.caption.bytes);
  visit("objects/caption_offset", c.caption.offset);
  visit("categories/id", c.category_id);
  visit("categories/name_bytes", c.category_name.bytes);
  visit("categories/name_offset", c.category_name.offset);
  visit("categories/active", c.active);
}

// Throws DataError naming `pack` when array lengths or offsets do not fit together.
void check_columns(const PackColumnsV1& columns, std::int64_t image_bytes, const std::string& pack);
// As the muster that wrote it had it, so that its checkpoints know the pack.
std::string fingerprint(const PackColumnsV1& columns);
// Each sample's picture is one of the table; its question and answer, where it has them, are its
// turns. REQUIRES columns that check_columns() passed.
PackColumns to_current(const PackColumnsV1& columns);

}  // namespace muster::data
