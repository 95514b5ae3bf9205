// What a pack holds: samples with their objects, and the table of categories.
#pragma once

#include <array>
#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

namespace muster::data {

struct Object {
  std::array<double, 4> box{};  // x1, y1, x2, y2 in stored pixels
  std::int64_t category = -1;   // original category id (of the source)
  std::string caption;  // what the detector learns to write; the category's name unless the source
                        // says more
  bool crowd = false;
  double area = 0;  // the source's, else the box's
};

struct Sample {
  std::string name;             // unique within the pack, e.g. the file's stem
  std::filesystem::path image;  // source path
  std::int64_t source_id = -1;  // COCO image id where the source has one, else the position
  std::int64_t width = 0, height = 0;
  std::vector<Object> objects;
  std::string prompt, answer;  // the source's own conversation, where it is not a list of boxes;
                               // else empty: the config's
  std::string where;           // annotation file (and line) for messages; not stored in the pack

  bool has_image() const { return !image.empty(); }  // false: text only
};

struct Category {
  std::int64_t id = 0;  // original
  std::string name;
};

}  // namespace muster::data
