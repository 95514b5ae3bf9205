#include "trainer/show/overlay.h"

#include <png.h>

#include <catch2/catch_test_macros.hpp>
#include <cstdlib>
#include <set>

#include "base/error.h"
#include "base/files.h"
#include "base/process/atomic_file.h"

using namespace muster;
using namespace muster::trainer;

namespace {

RgbImage gray(int width, int height) {
  return {width, height,
          std::vector<std::uint8_t>(static_cast<std::size_t>(width) * height * 3, 128)};
}

Rgb pixel_at(const RgbImage& image, int x, int y) {
  const std::uint8_t* pixel = &image.pixels[(static_cast<std::size_t>(y) * image.width + x) * 3];
  return {pixel[0], pixel[1], pixel[2]};
}

int distance(Rgb a, Rgb b) {
  int sum = 0;
  for (std::size_t c = 0; c < 3; ++c) sum += std::abs(a[c] - b[c]);
  return sum;
}

constexpr Rgb kGray = {128, 128, 128};

}  // namespace

TEST_CASE("a box is an outline: its edges are coloured, its inside and outside are untouched",
          "[unit]") {
  RgbImage image = gray(200, 100);
  LabelFont font;
  const std::vector<OverlayBox> boxes = {{{20, 30, 120, 80}, "", 3}};
  draw_boxes(image, boxes, font);
  for (const auto& [x, y] : {std::pair{20, 30}, {119, 30}, {20, 79}, {119, 79}, {70, 30}, {20, 50}})
    CHECK(pixel_at(image, x, y) == category_color(3));
  for (const auto& [x, y] : {std::pair{19, 30}, {120, 50}, {70, 80}, {70, 55}, {70, 29}})
    CHECK(pixel_at(image, x, y) == kGray);
}

TEST_CASE("boxes beyond the picture, reversed or not finite neither crash nor spill", "[fault]") {
  RgbImage image = gray(64, 48);
  LabelFont font;
  const std::vector<OverlayBox> boxes = {
      {{-1e30F, -5, 1e30F, 500}, "all", 0},
      {{40, 40, 10, 10}, "reversed", 1},
      {{std::nanf(""), 0, 9, 9}, "nan", 2},
      {{60, 44, 64, 48}, "a label much wider than the picture it is drawn on", 3}};
  draw_boxes(image, boxes, font);
  CHECK(image.pixels.size() == 64u * 48u * 3u);
  CHECK(pixel_at(image, 63, 20) == category_color(0));  // clamped, still visible at the border
}

TEST_CASE("neighbouring categories have colours far apart", "[unit]") {
  for (int a = 0; a < 8; ++a)
    for (int b = a + 1; b < 8; ++b) CHECK(distance(category_color(a), category_color(b)) > 60);
}

TEST_CASE("a label has a background of the box's colour and text that stands out", "[unit]") {
  LabelFont font;
  if (font.empty()) SKIP("no font on this machine");
  RgbImage image = gray(320, 240);
  draw_boxes(image, std::vector<OverlayBox>{{{50, 80, 200, 200}, "red circle 0.98", 0}}, font);
  int background = 0, text = 0;
  for (int y = 80 - 13; y < 80; ++y)
    for (int x = 50; x < 140; ++x) {
      background += pixel_at(image, x, y) == category_color(0);
      text += distance(pixel_at(image, x, y), category_color(0)) > 200;
    }
  CHECK(background > 300);
  CHECK(text > 60);
}

TEST_CASE("labels of boxes that lie on each other do not", "[unit]") {
  LabelFont font;
  if (font.empty()) SKIP("no font on this machine");
  const auto pixels_above = [&](int bottom, const std::vector<OverlayBox>& boxes,
                                std::int64_t category) {
    RgbImage image = gray(320, 240);
    draw_boxes(image, boxes, font);
    int count = 0;
    for (int y = 0; y < bottom; ++y)
      for (int x = 0; x < image.width; ++x)
        count += pixel_at(image, x, y) == category_color(category);
    return count;
  };
  const OverlayBox first{{50, 80, 200, 200}, "first 0.98", 0},
      second{{50, 80, 200, 200}, "second 0.50", 1};
  const OverlayBox silent{{50, 80, 200, 200}, "", 1};
  const std::vector<OverlayBox> both{first, second};
  CHECK(pixels_above(80, both, 0) ==
        pixels_above(80, {first}, 0));  // the first label is above the box, whole
  const int outline = pixels_above(240, {silent}, 1),
            label = pixels_above(240, {second}, 1) - outline;
  CHECK(pixels_above(240, both, 1) >
        label * 9 / 10);  // the second is elsewhere and seen, too; its outline is covered
}

TEST_CASE("a character no font has is reported once, known ones are not", "[unit]") {
  LabelFont font;
  if (font.empty()) SKIP("no font on this machine");
  const std::string private_use = "\xf3\xb0\x80\x80";  // U+F0000
  CHECK(font.draw(nullptr, 0, 0, 20, "abc " + private_use + private_use, {}) > 0);
  CHECK(font.missing() == std::set<std::uint32_t>{0xf0000});
  CHECK(font.draw(nullptr, 0, 0, 20, "\xff\xfe", {}) >
        0);  // not UTF-8: replacement characters, no crash
}

// An empty configuration, as on a machine without any font.
TEST_CASE("without any font labels are left out, and boxes are drawn", "[fault]") {
  const TempDir dir;
  write_text(dir.path() / "fonts.conf", "<fontconfig></fontconfig>\n");
  ::setenv("FONTCONFIG_FILE", (dir.path() / "fonts.conf").c_str(), 1);
  LabelFont font;
  ::unsetenv("FONTCONFIG_FILE");
  CHECK(font.empty());
  CHECK(font.draw(nullptr, 0, 0, 20, "abc", {}) == 0);
  RgbImage image = gray(200, 100);
  draw_boxes(image, std::vector<OverlayBox>{{{20, 30, 120, 80}, "abc", 3}}, font);
  CHECK(pixel_at(image, 70, 30) == category_color(3));
  CHECK(pixel_at(image, 30, 25) == kGray);
}

// The hard-coded paths knew nothing of a font in a folder of the user's own.
TEST_CASE("fonts are found wherever fontconfig knows them", "[unit]") {
  const fs::path known = "/usr/share/fonts/truetype/dejavu/DejaVuSansMono.ttf";
  if (!fs::exists(known)) SKIP("no " + known.string() + " to copy");
  const TempDir dir;
  fs::create_directories(dir.path() / "fonts");
  fs::copy_file(known, dir.path() / "fonts" / "own.ttf");
  write_text(dir.path() / "fonts.conf", "<fontconfig><dir>" + (dir.path() / "fonts").string() +
                                            "</dir><cachedir>" + (dir.path() / "cache").string() +
                                            "</cachedir></fontconfig>\n");
  ::setenv("FONTCONFIG_FILE", (dir.path() / "fonts.conf").c_str(), 1);
  LabelFont font;
  ::unsetenv("FONTCONFIG_FILE");
  CHECK_FALSE(font.empty());
  const int narrow = font.draw(nullptr, 0, 0, 20, "iiii", {});
  CHECK(narrow > 0);
  CHECK(narrow == font.draw(nullptr, 0, 0, 20, "MMMM", {}));  // the one with letters of one width
}

TEST_CASE("a named font that is none is refused", "[fault]") {
  const TempDir dir;
  write_text(dir.path() / "font.ttf", "not a font");
  CHECK_THROWS_AS(LabelFont(dir.path() / "font.ttf"), UsageError);
}

TEST_CASE("write_png writes what libpng reads back", "[unit]") {
  const TempDir dir;
  RgbImage image = gray(7, 5);
  image.pixels[3 * 8 + 1] = 200;
  write_png(dir.path() / "a.png", image);
  png_image header{};
  header.version = PNG_IMAGE_VERSION;
  REQUIRE(png_image_begin_read_from_file(&header, (dir.path() / "a.png").c_str()) != 0);
  header.format = PNG_FORMAT_RGB;
  std::vector<std::uint8_t> pixels(PNG_IMAGE_SIZE(header));
  REQUIRE(png_image_finish_read(&header, nullptr, pixels.data(), 0, nullptr) != 0);
  CHECK(header.width == 7);
  CHECK(pixels == image.pixels);
  CHECK_THROWS_AS(write_png(dir.path() / "missing" / "a.png", image), IoError);
}
