// Boxes with readable labels drawn on a picture, for people. Text needs a font: FreeType, a named
// file first, then the usual places, so that Chinese captions do not come out as empty frames
// (diary row W-004).
#pragma once

#include <array>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <set>
#include <span>
#include <string>
#include <vector>

namespace muster::trainer {

struct RgbImage {
  int width = 0, height = 0;
  std::vector<std::uint8_t> pixels;  // [height, width, 3]
};

using Rgb = std::array<std::uint8_t, 3>;

// Far apart in hue for small neighbouring indices, endless.
Rgb category_color(std::int64_t category);

struct OverlayBox {
  std::array<float, 4> box{};  // x1, y1, x2, y2 in pixels of the image
  std::string label;           // UTF-8
  std::int64_t category = 0;   // picks the colour
};

// A chain of fonts: each character comes from the first that has it. Several threads may draw, one
// line at a time.
class LabelFont {
 public:
  // `file` empty: only the usual places are searched. Throws UsageError when `file` cannot be read
  // as a font. Without any font labels are left out, with one warning.
  explicit LabelFont(const std::filesystem::path& file = {});
  ~LabelFont();
  LabelFont(LabelFont&&) noexcept;

  // Draws one line with its top left corner at x, y; returns its width. `image` null: only
  // measures.
  int draw(RgbImage* image, int x, int y, int height_px, const std::string& text, Rgb color);

  // Code points no font has, so far; each is warned about once. REQUIRES that nobody draws.
  const std::set<std::uint32_t>& missing() const { return missing_; }
  bool empty() const;

 private:
  struct Fonts;
  std::unique_ptr<Fonts> fonts_;
  std::set<std::uint32_t> missing_;
};

// Draws every box, then every label, so that no label is hidden by a later box. The first box and
// its label matter most: they lie on top, and labels go where no earlier one is, as long as there
// is such a place.
void draw_boxes(RgbImage& image, std::span<const OverlayBox> boxes, LabelFont& font);

void write_png(const std::filesystem::path& file, const RgbImage& image);  // throws IoError

}  // namespace muster::trainer
