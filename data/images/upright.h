// Pictures that EXIF would turn, turned; and their boxes. An orientation is EXIF's 1 to 8: 1 is
// upright, 2 to 4 keep the sides, 5 to 8 exchange width and height.
#pragma once

#include <array>
#include <cstdint>

#include "data/images/image.h"

namespace muster::data {

// REQUIRES 1 <= orientation <= 8. Keeps every pixel's bytes.
Image upright(const Image& image, int orientation);

// Where a box x1, y1, x2, y2 of the stored picture of `width` x `height` pixels lies in the upright
// one. REQUIRES 1 <= orientation <= 8, x1 <= x2 and y1 <= y2.
std::array<double, 4> upright_box(const std::array<double, 4>& box, std::int64_t width,
                                  std::int64_t height, int orientation);

// Whether turning exchanges width and height.
constexpr bool swaps_sides(int orientation) { return orientation >= 5; }

}  // namespace muster::data
