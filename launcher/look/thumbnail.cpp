#include "launcher/look/thumbnail.h"

#include <algorithm>
#include <vector>

#include "data/images/codec.h"
#include "data/images/resize.h"
#include "trainer/show/gallery/gallery.h"

namespace muster::launcher {
namespace {

constexpr int kQuality = 84;
constexpr std::int64_t kLeastSide = 16;

data::Image with_longest_side(const data::Image& image, std::int64_t side) {
  const std::int64_t longest = std::max(image.width, image.height);
  if (longest <= side) return image;
  const auto scaled = [&](std::int64_t length) {
    return std::max<std::int64_t>(1, (length * side + longest / 2) / longest);
  };
  return data::resize_bicubic(image, scaled(image.width), scaled(image.height));
}

}  // namespace

PictureRoom room_for(std::int64_t pictures) {
  // Bytes grow by a third as text; a fifth of the page is left to everything else.
  constexpr double kShare = 0.75 * 0.8;
  const double each = kShare * static_cast<double>(trainer::kMostPageBytes) /
                      static_cast<double>(std::max<std::int64_t>(1, pictures));
  PictureRoom room;
  room.bytes = std::clamp<std::size_t>(static_cast<std::size_t>(each), 3000, room.bytes);
  if (room.bytes < 40'000) room.longest_side = 480;
  return room;
}

std::string thumbnail(const data::Image& image, const PictureRoom& room) {
  std::int64_t side = room.longest_side;
  while (true) {
    const std::vector<std::byte> jpeg = encode_jpeg(with_longest_side(image, side), kQuality);
    if (jpeg.size() <= room.bytes || side <= kLeastSide)
      return {reinterpret_cast<const char*>(jpeg.data()), jpeg.size()};
    side = std::max(kLeastSide, std::min(side, std::max(image.width, image.height)) * 3 / 4);
  }
}

}  // namespace muster::launcher
