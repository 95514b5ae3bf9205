// Pictures with coloured rectangles, and packs of them: what is under a box can be checked.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "base/files.h"
#include "base/process/atomic_file.h"
#include "data/images/codec.h"
#include "data/images/image.h"
#include "data/pack/pack.h"

namespace muster::test {

using Colour = std::array<std::uint8_t, 3>;
using PixelBox = std::array<double, 4>;

inline data::Image plain(std::int64_t width, std::int64_t height, Colour colour) {
  data::Image image{.width = width, .height = height, .rgb = {}};
  for (std::int64_t i = 0; i < width * height; ++i)
    image.rgb.insert(image.rgb.end(), colour.begin(), colour.end());
  return image;
}

inline void paint(data::Image& image, const PixelBox& box, Colour colour) {
  for (auto y = static_cast<std::int64_t>(box[1]); y < static_cast<std::int64_t>(box[3]); ++y) {
    for (auto x = static_cast<std::int64_t>(box[0]); x < static_cast<std::int64_t>(box[2]); ++x) {
      for (std::size_t c = 0; c < 3; ++c)
        image.rgb[static_cast<std::size_t>((y * image.width + x) * 3) + c] = colour[c];
    }
  }
}

inline fs::path save_png(const fs::path& file, const data::Image& image) {
  const std::vector<std::byte> png = data::encode_png(image);
  write_text(file, {reinterpret_cast<const char*>(png.data()), png.size()});
  return file;
}

inline data::Object object(const PixelBox& box, std::int64_t category, const std::string& caption) {
  data::Object object;
  object.box = box;
  object.category = category;
  object.caption = caption;
  object.area = (box[2] - box[0]) * (box[3] - box[1]);
  return object;
}

inline data::Sample sample(const std::string& name, const std::vector<fs::path>& pictures,
                           std::int64_t width, std::int64_t height,
                           std::vector<data::Object> objects) {
  data::Sample sample;
  sample.name = name;
  for (const fs::path& picture : pictures)
    sample.pictures.push_back({.path = picture, .width = width, .height = height});
  sample.objects = std::move(objects);
  return sample;
}

}  // namespace muster::test
