#include <png.h>

#include <catch2/catch_test_macros.hpp>
#include <catch2/matchers/catch_matchers_exception.hpp>
#include <catch2/matchers/catch_matchers_string.hpp>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <random>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/files.h"
#include "data/images/codec.h"
#include "data/images/image.h"
#include "support/test_paths.h"

namespace muster::data {
namespace {

using Catch::Matchers::ContainsSubstring;
using Catch::Matchers::MessageMatches;
using Bytes = std::vector<std::byte>;

Image random_image(std::int64_t width, std::int64_t height) {
  std::mt19937 random(5);
  Image image{width, height, {}};
  for (std::int64_t i = 0; i < width * height * 3; ++i)
    image.rgb.push_back(static_cast<std::uint8_t>(random()));
  return image;
}

// Smooth, so that JPEG keeps it nearly as it is.
Image ramp_image(std::int64_t width, std::int64_t height) {
  Image image{width, height, {}};
  for (std::int64_t y = 0; y < height; ++y) {
    for (std::int64_t x = 0; x < width; ++x) {
      for (const std::int64_t v : {40 + 2 * x, 60 + 2 * y, 80 + x + y}) {
        image.rgb.push_back(static_cast<std::uint8_t>(v));
      }
    }
  }
  return image;
}

// A PNG of any kind from raw rows.
Bytes make_png(png_uint_32 width, png_uint_32 height, int depth, int color_type,
               std::vector<std::uint8_t> samples, bool interlaced = false) {
  Bytes out;
  png_structp png = png_create_write_struct(PNG_LIBPNG_VER_STRING, nullptr, nullptr, nullptr);
  png_infop info = png_create_info_struct(png);
  const auto write = [](png_structp p, png_bytep data, std::size_t size) {
    auto* to = static_cast<Bytes*>(png_get_io_ptr(p));
    const auto* from = reinterpret_cast<const std::byte*>(data);
    to->insert(to->end(), from, from + size);
  };
  png_set_write_fn(png, &out, write, nullptr);
  png_set_IHDR(png, info, width, height, depth, color_type,
               interlaced ? PNG_INTERLACE_ADAM7 : PNG_INTERLACE_NONE, PNG_COMPRESSION_TYPE_DEFAULT,
               PNG_FILTER_TYPE_DEFAULT);
  const png_color palette[] = {{10, 20, 30}, {200, 100, 50}};
  if (color_type == PNG_COLOR_TYPE_PALETTE) png_set_PLTE(png, info, palette, 2);
  png_write_info(png, info);
  std::vector<png_bytep> rows;
  for (png_uint_32 y = 0; y < height; ++y)
    rows.push_back(samples.data() + y * (samples.size() / height));
  png_write_image(png, rows.data());
  png_write_end(png, info);
  png_destroy_write_struct(&png, &info);
  return out;
}

// Puts an APP1 segment with `tiff` behind the start-of-image marker.
Bytes with_exif(Bytes jpeg, const std::vector<std::uint8_t>& tiff) {
  const std::size_t length = 2 + 6 + tiff.size();
  std::vector<std::uint8_t> segment{0xFF,
                                    0xE1,
                                    static_cast<std::uint8_t>(length >> 8),
                                    static_cast<std::uint8_t>(length),
                                    'E',
                                    'x',
                                    'i',
                                    'f',
                                    0,
                                    0};
  segment.insert(segment.end(), tiff.begin(), tiff.end());
  const auto* start = reinterpret_cast<const std::byte*>(segment.data());
  jpeg.insert(jpeg.begin() + 2, start, start + segment.size());
  return jpeg;
}

int orientation(const std::vector<std::uint8_t>& tiff) {
  return read_image_info(with_exif(encode_jpeg(ramp_image(16, 8), 90), tiff), "x").exif_orientation;
}

std::span<const std::byte> cut(const Bytes& bytes, std::size_t size) {
  return std::span(bytes).first(size);
}

TEST_CASE("codec: PNG keeps every byte and is written the same way twice", "[unit]") {
  const Image image = random_image(37, 23);
  const Bytes png = encode_png(image);
  CHECK((encode_png(image) == png));
  const Image back = decode_image(png, "x");
  CHECK(back.width == 37);
  CHECK(back.height == 23);
  CHECK(back.rgb == image.rgb);
  const ImageInfo info = read_image_info(png, "x");
  CHECK((info.width == 37 && info.height == 23 && info.exif_orientation == 1));
}

TEST_CASE("codec: kinds of PNG", "[unit]") {
  const auto rgb = [](const Bytes& png) { return decode_image(png, "x").rgb; };
  using Rgb = std::vector<std::uint8_t>;
  CHECK(rgb(make_png(2, 1, 8, PNG_COLOR_TYPE_GRAY, {7, 250})) == Rgb{7, 7, 7, 250, 250, 250});
  CHECK(rgb(make_png(4, 1, 2, PNG_COLOR_TYPE_GRAY, {0b00011011})) ==
        Rgb{0, 0, 0, 85, 85, 85, 170, 170, 170, 255, 255, 255});
  CHECK(rgb(make_png(1, 1, 16, PNG_COLOR_TYPE_RGB, {1, 200, 2, 200, 3, 200})) == Rgb{1, 2, 3});
  CHECK(rgb(make_png(2, 1, 1, PNG_COLOR_TYPE_PALETTE, {0b01000000})) ==
        Rgb{10, 20, 30, 200, 100, 50});
  CHECK(rgb(make_png(3, 1, 8, PNG_COLOR_TYPE_RGBA, {9, 8, 7, 255, 9, 8, 7, 0, 100, 0, 255, 128})) ==
        Rgb{9, 8, 7, 255, 255, 255, 177, 127, 255});  // (100 * 128 + 255 * 127) / 255 = 177.2, 127
  CHECK(rgb(make_png(1, 1, 8, PNG_COLOR_TYPE_GRAY_ALPHA, {0, 51})) == Rgb{204, 204, 204});
  const Image image = random_image(9, 9);
  CHECK(rgb(make_png(9, 9, 8, PNG_COLOR_TYPE_RGB, image.rgb, true)) == image.rgb);
}

TEST_CASE("codec: alpha is composited on white with correct rounding", "[unit]") {
  std::vector<std::uint8_t> samples;
  for (int value = 0; value < 256; ++value) {
    for (int alpha = 0; alpha < 256; ++alpha) {
      const auto v = static_cast<std::uint8_t>(value);
      samples.insert(samples.end(), {v, v, v, static_cast<std::uint8_t>(alpha)});
    }
  }
  const Image image = decode_image(make_png(256, 256, 8, PNG_COLOR_TYPE_RGBA, samples), "x");
  int wrong = 0;
  for (std::size_t i = 0; i < samples.size() / 4; ++i) {
    const double alpha = samples[4 * i + 3] / 255.0,
                 want = samples[4 * i] * alpha + 255.0 * (1 - alpha);
    wrong += std::fabs(image.rgb[3 * i] - want) > 0.5 + 1e-9;
  }
  CHECK(wrong == 0);
}

TEST_CASE("codec: JPEG, color and gray", "[unit]") {
  const Image image = ramp_image(50, 40);
  const Image back = decode_image(encode_jpeg(image, 95), "x");
  REQUIRE(back.rgb.size() == image.rgb.size());
  int worst = 0;
  for (std::size_t i = 0; i < back.rgb.size(); ++i)
    worst = std::max(worst, std::abs(back.rgb[i] - image.rgb[i]));
  CHECK(worst < 12);
  CHECK(encode_jpeg(image, 30).size() < encode_jpeg(image, 95).size());
  CHECK_THROWS_AS(encode_jpeg(Image{70000, 1, std::vector<std::uint8_t>(210000)}, 90), DataError);
}

TEST_CASE("codec: gray, progressive and rotated files of the oracle", "[golden]") {
  const auto dir = test::shared("golden/processor");
  const auto info = [&](const char* name) {
    return read_image_info(MappedFile(dir / name).bytes(), name);
  };
  CHECK(info("e_exif6.jpg").exif_orientation == 6);
  CHECK(info("e_exif6.jpg").width == 160);  // as stored
  CHECK(info("a_small.jpg").exif_orientation == 1);
  CHECK(info("f_progressive.jpg").height == 200);
  const Image gray = decode_image(MappedFile(dir / "c_gray.jpg").bytes(), "c_gray.jpg");
  CHECK((gray.rgb[0] == gray.rgb[1] && gray.rgb[1] == gray.rgb[2]));
}

TEST_CASE("codec: EXIF orientation in both byte orders; anything malformed is 1", "[unit]") {
  for (std::uint8_t n = 1; n <= 8; ++n) {
    CHECK(orientation({'M', 'M', 0, 42, 0, 0, 0, 8, 0, 1, 0x01, 0x12, 0,
                       3,   0,   0, 0,  1, 0, n, 0, 0, 0, 0,    0,    0}) == n);
    CHECK(orientation({'I', 'I', 42, 0, 8, 0, 0, 0, 1, 0, 0x12, 0x01, 3,
                       0,   1,   0,  0, 0, n, 0, 0, 0, 0, 0,    0,    0}) == n);
  }
  CHECK(orientation({'M', 'M', 0,   42,  0, 0,    0,    8, 0, 2, 0x01, 0x0F, 0, 2, 0, 0, 0,
                     4,   'a', 'b', 'c', 0, 0x01, 0x12, 0, 3, 0, 0,    0,    1, 0, 3, 0, 0}) ==
        3);  // second entry
  CHECK(orientation(
            {'M', 'M', 0, 42, 0, 0, 0, 8, 0, 1, 0x01, 0x12, 0, 3, 0, 0, 0, 1, 0, 9, 0, 0}) == 1);
  CHECK(orientation({'M', 'M', 0, 42, 0, 0, 0, 8, 0, 9, 0x01}) == 1);
  CHECK(orientation({'M', 'M', 0, 42, 0xFF, 0xFF, 0xFF, 0xFF, 0, 1}) == 1);
  CHECK(orientation({'M', 'I', 0, 42, 0, 0, 0, 8}) == 1);
  CHECK(orientation({}) == 1);
}

TEST_CASE("codec: every truncation is an error that names the image", "[unit]") {
  const Image image = ramp_image(40, 30);
  for (const Bytes& bytes : {encode_jpeg(image, 80), encode_png(image)}) {
    for (std::size_t size = 0; size + 20 < bytes.size();
         size += 7) {  // the end itself: formats_test
      INFO(size << " of " << bytes.size());
      REQUIRE_THROWS_MATCHES(decode_image(cut(bytes, size), "img_7.jpg"), DataError,
                             MessageMatches(ContainsSubstring("img_7.jpg")));
    }
  }
  const Bytes jpeg = encode_jpeg(image, 80);
  CHECK_THROWS_MATCHES(decode_image(cut(jpeg, jpeg.size() - 20), "x"), DataError,
                       MessageMatches(ContainsSubstring("remature end")));
  CHECK_THROWS_AS(read_image_info(cut(jpeg, 10), "x"), DataError);
}

TEST_CASE("codec: damaged bytes either decode or throw DataError", "[fault]") {
  std::mt19937 random(3);
  const Image image = ramp_image(40, 30);
  int refused = 0;
  for (const Bytes& whole : {encode_jpeg(image, 80), encode_png(image)}) {
    for (int round = 0; round < 300; ++round) {
      Bytes bytes = whole;
      for (int i = 0; i < 3; ++i) bytes[random() % bytes.size()] = static_cast<std::byte>(random());
      try {
        decode_image(bytes, "x");
      } catch (const DataError&) {
        ++refused;
      }
    }
  }
  CHECK(refused > 250);
}

}  // namespace
}  // namespace muster::data
