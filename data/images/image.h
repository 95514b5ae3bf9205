// A picture in memory, as stored (law 6).
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "data/images/pixels.h"

namespace muster::data {

struct Image {
  std::int64_t width = 0, height = 0;
  Pixels rgb;  // [height, width, 3]
  // What was not as it should be in a file that could be read all the same, such as "JPEG without
  // an end marker". Empty for most pictures.
  std::vector<std::string> warnings = {};
};

// What a file's header tells without decoding.
struct ImageInfo {
  std::int64_t width = 0, height = 0;
  int exif_orientation = 1;  // 1 when absent
};

}  // namespace muster::data
