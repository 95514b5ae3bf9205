// Pictures that look alike, whatever their size and compression: copies, and frames of one scene.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <vector>

#include "data/images/image.h"

namespace muster::launcher {

// What a picture looks like, in a few bytes.
struct PictureSketch {
  std::uint64_t hash = 0;                // which of its 64 lowest frequencies are above the median
  std::array<std::uint8_t, 192> tiny{};  // [8, 8, 3], means of its parts
  bool known = false;                    // false: the picture could not be read, and is like none
};

PictureSketch sketch(const data::Image& image);

// Groups of at least two, each ascending, ordered by their first members. Two pictures are in one
// group when they, or a chain of others between them, differ in at most 6 bits of the hash and
// little in their tiny copies. Time grows with the number of pictures, not with its square.
std::vector<std::vector<std::int64_t>> near_duplicates(std::span<const PictureSketch> sketches);

}  // namespace muster::launcher
