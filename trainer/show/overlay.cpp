#include "trainer/show/overlay.h"

#include <fmt/core.h>
#include <png.h>

#include <algorithm>
#include <cmath>
#include <ranges>

#include "base/error.h"

namespace muster::trainer {
namespace {

struct Rectangle {
  int x1 = 0, y1 = 0, x2 = 0, y2 = 0;  // x2, y2 exclusive
};

Rgb hsv(double hue, double saturation, double value) {
  const auto channel = [&](double n) {
    const double k = std::fmod(n + hue * 6, 6.0);
    return static_cast<std::uint8_t>(
        std::lround(255 * (value - value * saturation * std::clamp(std::min(k, 4 - k), 0.0, 1.0))));
  };
  return {channel(5), channel(3), channel(1)};
}

void fill(RgbImage& image, Rectangle area, Rgb color) {
  for (int y = std::max(area.y1, 0); y < std::min(area.y2, image.height); ++y)
    for (int x = std::max(area.x1, 0); x < std::min(area.x2, image.width); ++x)
      std::ranges::copy(color, &image.pixels[(static_cast<std::size_t>(y) * image.width + x) * 3]);
}

// Rounded and clamped, so that an edge at or beyond the border stays visible.
Rectangle pixels_of(const OverlayBox& box, const RgbImage& image) {
  const auto at = [](float v, int size) {
    return std::isfinite(v)
               ? static_cast<int>(std::clamp(std::round(v), 0.0F, static_cast<float>(size)))
               : 0;
  };
  return {at(box.box[0], image.width), at(box.box[1], image.height), at(box.box[2], image.width),
          at(box.box[3], image.height)};
}

void outline(RgbImage& image, Rectangle r, int width, Rgb color) {
  fill(image, {r.x1, r.y1, r.x2, std::min(r.y1 + width, r.y2)}, color);
  fill(image, {r.x1, std::max(r.y2 - width, r.y1), r.x2, r.y2}, color);
  fill(image, {r.x1, r.y1, std::min(r.x1 + width, r.x2), r.y2}, color);
  fill(image, {std::max(r.x2 - width, r.x1), r.y1, r.x2, r.y2}, color);
}

bool overlap(const Rectangle& a, const Rectangle& b) {
  return a.x1 < b.x2 && b.x1 < a.x2 && a.y1 < b.y2 && b.y1 < a.y2;
}

// Above the box, else inside it at the top, below it, inside at the bottom: the first place inside
// the picture that no label placed before covers; where there is none, above or inside.
Rectangle place_label(const RgbImage& image, Rectangle box, int width, int height,
                      const std::vector<Rectangle>& taken) {
  const int left = std::clamp(box.x1, 0, std::max(0, image.width - width));
  const int right = std::clamp(box.x2 - width, 0, std::max(0, image.width - width));
  const auto at = [&](int x, int y) { return Rectangle{x, y, x + width, y + height}; };
  std::vector<Rectangle> places;
  for (const int y : {box.y1 - height, box.y1, box.y2, box.y2 - height}) {
    if (y < 0 || y + height > image.height) continue;
    places.push_back(at(left, y));
    places.push_back(at(right, y));
  }
  for (const Rectangle& place : places)
    if (std::ranges::none_of(taken, [&](const Rectangle& other) { return overlap(place, other); }))
      return place;
  return places.empty() ? at(left, std::max(0, image.height - height)) : places.front();
}

void draw_label(RgbImage& image, const OverlayBox& box, Rectangle place, LabelFont& font) {
  const Rgb color = category_color(box.category);
  fill(image, place, color);
  const double luminance = 0.299 * color[0] + 0.587 * color[1] + 0.114 * color[2];
  const int height = place.y2 - place.y1;
  font.draw(&image, place.x1 + height / 4, place.y1, height, box.label,
            luminance > 140 ? Rgb{0, 0, 0} : Rgb{255, 255, 255});
}

}  // namespace

Rgb category_color(std::int64_t category) {
  constexpr double kGoldenRatio =
      0.6180339887498949;  // successive hues never come close to a recent one
  const double hue = std::fmod(0.58 + static_cast<double>(category) * kGoldenRatio, 1.0);
  return hsv(hue, category % 2 == 0 ? 0.80 : 0.65, category % 3 == 2 ? 0.75 : 0.95);
}

void draw_boxes(RgbImage& image, std::span<const OverlayBox> boxes, LabelFont& font) {
  const int longest = std::max(image.width, image.height);
  const int line = std::clamp(longest / 240, 2, 12), text_height = std::clamp(longest / 28, 18, 64);
  for (const OverlayBox& box : boxes | std::views::reverse)
    outline(image, pixels_of(box, image), line, category_color(box.category));
  if (font.empty()) return;
  std::vector<Rectangle> places;
  for (const OverlayBox& box : boxes) {
    if (box.label.empty()) {
      places.emplace_back();  // covers nothing
      continue;
    }
    const int width = font.draw(nullptr, 0, 0, text_height, box.label, {}) + text_height / 2;
    places.push_back(place_label(image, pixels_of(box, image), width, text_height, places));
  }
  for (std::size_t i = boxes.size(); i-- > 0;)
    if (!boxes[i].label.empty()) draw_label(image, boxes[i], places[i], font);
}

void write_png(const std::filesystem::path& file, const RgbImage& image) {
  png_image header{};
  header.version = PNG_IMAGE_VERSION;
  header.width = static_cast<png_uint_32>(image.width);
  header.height = static_cast<png_uint_32>(image.height);
  header.format = PNG_FORMAT_RGB;
  if (png_image_write_to_file(&header, file.c_str(), 0, image.pixels.data(), 0, nullptr) == 0)
    throw IoError(fmt::format("{}: cannot write PNG: {}", file.string(), header.message));
}

}  // namespace muster::trainer
