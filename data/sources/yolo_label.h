// A line of a YOLO label file.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "data/pack/sample.h"
#include "data/sources/data_yaml.h"

namespace muster::data {

// "class cx cy w h" in shares of the picture, with a confidence behind or the set's key points; or
// a class and three corners of a polygon or more (four of a turned box), whose box is taken. The
// object's box is in shares. Throws DataError without a place.
Object read_yolo_label(std::string_view line, const ClassNames& names,
                       std::int64_t keypoint_numbers);

}  // namespace muster::data
