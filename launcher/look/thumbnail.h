// A picture as JPEG of a bounded size, for a page.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

#include "data/images/image.h"

namespace muster::launcher {

// What all pictures of a page take together, and each of them.
struct PictureRoom {
  std::int64_t longest_side = 900;
  std::size_t bytes = 160'000;
};

// Room for each of `pictures` on a page of trainer::kMostPageBytes.
PictureRoom room_for(std::int64_t pictures);

// The picture with its longer side at most `longest_side`, and smaller still when it would take
// more bytes; 16 pixels are always kept.
std::string thumbnail(const data::Image& image, const PictureRoom& room);

}  // namespace muster::launcher
