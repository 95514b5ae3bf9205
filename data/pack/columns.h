// A pack's content as flat arrays, one per HDF5 dataset: the table below is the format
// (docs/pack_format.md).
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "data/pack/sample.h"

namespace muster::data {

// Strings end to end, UTF-8, with where each begins.
struct TextColumn {
  std::vector<std::uint8_t> bytes;
  std::vector<std::int64_t> offset{0};  // [strings + 1]

  void add(std::string_view text) {
    bytes.insert(bytes.end(), text.begin(), text.end());
    offset.push_back(static_cast<std::int64_t>(bytes.size()));
  }
  std::string at(std::int64_t i) const {
    const auto row = static_cast<std::size_t>(i);
    return {reinterpret_cast<const char*>(bytes.data()) + offset[row],
            static_cast<std::size_t>(offset[row + 1] - offset[row])};
  }
};

struct PackColumns {
  // N samples
  std::vector<std::int64_t> image_offset{0};  // [N + 1] into images/bytes
  std::vector<std::uint8_t> checksum;     // [N, 32] hex digits of XXH3-128 over the image's bytes
  std::vector<std::int64_t> size;         // [N, 2] width, height
  std::vector<std::int64_t> source_id;    // [N]
  TextColumn name, path, prompt, answer;  // [N]
  // M objects
  std::vector<std::int64_t> object_offset{0};  // [N + 1] into the arrays below
  std::vector<double> box;                     // [M, 4] x1, y1, x2, y2 in stored pixels
  std::vector<double> area;                    // [M]
  std::vector<std::int64_t> category;          // [M] original ids
  std::vector<std::uint8_t> crowd;             // [M]
  TextColumn caption;                          // [M]
  // categories
  std::vector<std::int64_t> category_id;  // [C] original ids
  TextColumn category_name;               // [C]
  std::vector<std::int64_t>
      active;  // [K] original ids of the categories that occur, ascending: index k of the class map

  std::int64_t num_samples() const { return static_cast<std::int64_t>(source_id.size()); }
  std::int64_t num_objects() const { return static_cast<std::int64_t>(category.size()); }
};

constexpr std::int64_t kChecksumDigits = 32;
constexpr std::string_view kPathColumn = "samples/path_bytes";
constexpr std::string_view kPathOffsetColumn = "samples/path_offset";

// visit(dataset name, vector, columns per row) for every dataset but images/bytes.
template <typename Columns, typename Visit>
void for_each_column(Columns& c, Visit&& visit) {
  visit("images/offset", c.image_offset, 1);
  visit("images/checksum", c.checksum, kChecksumDigits);
  visit("samples/size", c.size, 2);
  visit("samples/source_id", c.source_id, 1);
  visit("samples/name_bytes", c.name.bytes, 1);
  visit("samples/name_offset", c.name.offset, 1);
  visit(kPathColumn, c.path.bytes, 1);
  visit(kPathOffsetColumn, c.path.offset, 1);
  visit("samples/prompt_bytes", c.prompt.bytes, 1);
  visit("samples/prompt_offset", c.prompt.offset, 1);
  visit("samples/answer_bytes", c.answer.bytes, 1);
  visit("samples/answer_offset", c.answer.offset, 1);
  visit("objects/offset", c.object_offset, 1);
  visit("objects/box", c.box, 4);
  visit("objects/area", c.area, 1);
  visit("objects/category", c.category, 1);
  visit("objects/crowd", c.crowd, 1);
  visit("objects/caption_bytes", c.caption.bytes, 1);
  visit("objects/caption_offset", c.caption.offset, 1);
  visit("categories/id", c.category_id, 1);
  visit("categories/name_bytes", c.category_name.bytes, 1);
  visit("categories/name_offset", c.category_name.offset, 1);
  visit("categories/active", c.active, 1);
}

// Everything but image_offset and checksum, which writing the images fills in.
PackColumns to_columns(const std::vector<Sample>& samples, const std::vector<Category>& categories);
std::vector<Sample> to_samples(const PackColumns& columns);
std::vector<Category> to_categories(const PackColumns& columns);

// Throws DataError naming `pack` when array lengths or offsets do not fit together.
void check_columns(const PackColumns& columns, std::int64_t image_bytes, const std::string& pack);

// XXH3-128 over every column but the source paths: the same content packed from another folder has
// the same fingerprint.
std::string fingerprint(const PackColumns& columns);

}  // namespace muster::data
