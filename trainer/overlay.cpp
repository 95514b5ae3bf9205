#include "trainer/overlay.h"

#include <fmt/core.h>
#include <png.h>

#include <algorithm>
#include <cmath>

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
    return std::isfinite(v) ? static_cast<int>(std::clamp(std::round(v), 0.0F, static_cast<float>(size))) : 0;
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

// Above the box where there is room, else inside it; never beyond the right or left border.
void draw_label(RgbImage& image, const OverlayBox& box, int height, LabelFont& font) {
  const Rectangle r = pixels_of(box, image);
  const int padding = height / 4, width = font.draw(nullptr, 0, 0, height, box.label, {}) + 2 * padding;
  const int x = std::max(0, std::min(r.x1, image.width - width));
  const int y = r.y1 >= height ? r.y1 - height : std::min(r.y1, image.height - height);
  const Rgb color = category_color(box.category);
  fill(image, {x, y, x + width, y + height}, color);
  const double luminance = 0.299 * color[0] + 0.587 * color[1] + 0.114 * color[2];
  font.draw(&image, x + padding, y, height, box.label, luminance > 140 ? Rgb{0, 0, 0} : Rgb{255, 255, 255});
}

}  // namespace

Rgb category_color(std::int64_t category) {
  constexpr double kGoldenRatio = 0.6180339887498949;  // successive hues never come close to a recent one
  const double hue = std::fmod(0.58 + static_cast<double>(category) * kGoldenRatio, 1.0);
  return hsv(hue, category % 2 == 0 ? 0.80 : 0.65, category % 3 == 2 ? 0.75 : 0.95);
}

void draw_boxes(RgbImage& image, std::span<const OverlayBox> boxes, LabelFont& font) {
  const int longest = std::max(image.width, image.height);
  const int line = std::clamp(longest / 240, 1, 12), text_height = std::clamp(longest / 36, 14, 64);
  for (const OverlayBox& box : boxes) outline(image, pixels_of(box, image), line, category_color(box.category));
  if (font.empty()) return;
  for (const OverlayBox& box : boxes)
    if (!box.label.empty()) draw_label(image, box, text_height, font);
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
