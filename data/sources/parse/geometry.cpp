#include "data/sources/parse/geometry.h"

#include <algorithm>
#include <cmath>
#include <numbers>

namespace muster::data {

double box_area(const Box& box) { return (box[2] - box[0]) * (box[3] - box[1]); }

Box box_around(std::span<const double> points) {
  Box box{points[0], points[1], points[0], points[1]};
  for (std::size_t i = 2; i + 1 < points.size(); i += 2) {
    box[0] = std::min(box[0], points[i]);
    box[1] = std::min(box[1], points[i + 1]);
    box[2] = std::max(box[2], points[i]);
    box[3] = std::max(box[3], points[i + 1]);
  }
  return box;
}

Box box_of_turned(double x, double y, double width, double height, double degrees) {
  if (degrees == 0) return {x, y, x + width, y + height};
  const double angle = degrees * std::numbers::pi / 180;
  const double cosine = std::cos(angle);
  const double sine = std::sin(angle);
  const std::array<double, 8> corners{x,
                                      y,
                                      x + width * cosine,
                                      y + width * sine,
                                      x + width * cosine - height * sine,
                                      y + width * sine + height * cosine,
                                      x - height * sine,
                                      y + height * cosine};
  return box_around(corners);
}

Box box_of_turned_about_centre(double cx, double cy, double width, double height, double degrees) {
  const Box at_origin = box_of_turned(0, 0, width, height, degrees);
  const double half_width = (at_origin[2] - at_origin[0]) / 2;
  const double half_height = (at_origin[3] - at_origin[1]) / 2;
  return {cx - half_width, cy - half_height, cx + half_width, cy + half_height};
}

void snap_to_border(Box& box, double width, double height, double tolerance_x, double tolerance_y) {
  for (std::size_t i = 0; i < box.size(); ++i) {
    const double side = i % 2 == 0 ? width : height;
    const double tolerance = i % 2 == 0 ? tolerance_x : tolerance_y;
    if (box[i] < 0 && box[i] >= -tolerance) box[i] = 0;
    if (box[i] > side && box[i] <= side + tolerance) box[i] = side;
  }
}

std::optional<Box> run_length_box(std::span<const std::int64_t> counts, std::int64_t height,
                                  std::int64_t width) {
  constexpr std::int64_t kMostPixels = std::int64_t{1} << 40;
  if (height <= 0 || width <= 0 || height > kMostPixels / width) return std::nullopt;
  const std::int64_t pixels = height * width;
  std::int64_t at = 0;  // the first pixel of the run, counted down the columns
  std::int64_t left = width, top = height, right = -1, bottom = -1;
  for (std::size_t i = 0; i < counts.size(); ++i) {
    if (counts[i] < 0 || counts[i] > pixels - at) return std::nullopt;
    const bool inside = i % 2 == 1 && counts[i] > 0;
    if (inside) {
      const std::int64_t last = at + counts[i] - 1;
      left = std::min(left, at / height);
      right = std::max(right, last / height);
      const bool one_column = at / height == last / height;
      top = std::min(top, one_column ? at % height : 0);
      bottom = std::max(bottom, one_column ? last % height : height - 1);
    }
    at += counts[i];
  }
  if (right < 0) return std::nullopt;
  return Box{static_cast<double>(left), static_cast<double>(top), static_cast<double>(right + 1),
             static_cast<double>(bottom + 1)};
}

std::optional<std::vector<std::int64_t>> decompress_run_lengths(std::string_view text) {
  constexpr int kDigitBits = 5, kMore = 0x20, kNegative = 0x10, kMostDigits = 10;
  std::vector<std::int64_t> counts;
  std::size_t at = 0;
  while (at < text.size()) {
    std::int64_t value = 0;
    bool more = true;
    for (int digit = 0; more; ++digit) {
      if (at == text.size() || digit == kMostDigits) return std::nullopt;
      const int bits = static_cast<unsigned char>(text[at++]) - 48;
      if (bits < 0 || bits > 63) return std::nullopt;
      value |= static_cast<std::int64_t>(bits & 0x1f) << (kDigitBits * digit);
      more = (bits & kMore) != 0;
      const bool negative = !more && (bits & kNegative) != 0;
      if (negative) value -= std::int64_t{1} << (kDigitBits * (digit + 1));
    }
    // From the third on, the difference from the one before the last is written.
    if (counts.size() > 2) value += counts[counts.size() - 2];
    counts.push_back(value);
  }
  return counts;
}

}  // namespace muster::data
