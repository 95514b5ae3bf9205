#include "data/images/upright.h"

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <stdexcept>

namespace muster::data {
namespace {

// An orientation as three steps: exchange x and y, then mirror left to right, then top to bottom.
struct Turn {
  bool transposed = false, mirrored = false, flipped = false;
};

Turn turn_of(int orientation) {
  switch (orientation) {
    case 1: return {};
    case 2: return {.mirrored = true};
    case 3: return {.mirrored = true, .flipped = true};
    case 4: return {.flipped = true};
    case 5: return {.transposed = true};
    case 6: return {.transposed = true, .mirrored = true};
    case 7: return {.transposed = true, .mirrored = true, .flipped = true};
    case 8: return {.transposed = true, .flipped = true};
    default: throw std::logic_error("an EXIF orientation is 1 to 8");
  }
}

}  // namespace

Image upright(const Image& image, int orientation) {
  const Turn turn = turn_of(orientation);
  Image out{image.width, image.height, {}, image.warnings};
  if (turn.transposed) std::swap(out.width, out.height);
  out.rgb.resize(image.rgb.size());
  std::uint8_t* to = out.rgb.data();
  for (std::int64_t y = 0; y < out.height; ++y) {
    const std::int64_t v = turn.flipped ? out.height - 1 - y : y;
    for (std::int64_t x = 0; x < out.width; ++x) {
      const std::int64_t u = turn.mirrored ? out.width - 1 - x : x;
      const std::int64_t from = turn.transposed ? u * image.width + v : v * image.width + u;
      std::memcpy(to, image.rgb.data() + 3 * from, 3);
      to += 3;
    }
  }
  return out;
}

std::array<double, 4> upright_box(const std::array<double, 4>& box, std::int64_t width,
                                  std::int64_t height, int orientation) {
  const Turn turn = turn_of(orientation);
  auto [x1, y1, x2, y2] = box;
  auto out_width = static_cast<double>(width), out_height = static_cast<double>(height);
  if (turn.transposed) {
    std::swap(x1, y1);
    std::swap(x2, y2);
    std::swap(out_width, out_height);
  }
  if (turn.mirrored) {
    const double left = out_width - x2;
    x2 = out_width - x1;
    x1 = left;
  }
  if (turn.flipped) {
    const double top = out_height - y2;
    y2 = out_height - y1;
    y1 = top;
  }
  return {x1, y1, x2, y2};
}

}  // namespace muster::data
