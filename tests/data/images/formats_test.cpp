// Every kind of picture against what Pillow reads in it: samples/, made by make_samples.py.
#include <fmt/core.h>
#include <tiffio.h>

#include <catch2/catch_test_macros.hpp>
#include <catch2/matchers/catch_matchers_exception.hpp>
#include <catch2/matchers/catch_matchers_string.hpp>
#include <cstring>
#include <fstream>
#include <sstream>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "base/files.h"
#include "data/images/check.h"
#include "data/images/codec.h"
#include "support/test_paths.h"

namespace muster::data {
namespace {

using Catch::Matchers::ContainsSubstring;
using Catch::Matchers::MessageMatches;
using Bytes = std::vector<std::byte>;

fs::path samples() { return test::source_dir() / "tests/data/images/samples"; }

Bytes sample(const std::string& name) {
  const MappedFile file(samples() / name);
  return {file.bytes().begin(), file.bytes().end()};
}

Image decode(const std::string& name) { return decode_image(sample(name), name); }

// FNV-1a, which is short enough to stand in make_samples.py as well.
std::string digest(const Image& image) {
  std::uint64_t value = 0xCBF29CE484222325;
  for (const std::uint8_t byte : image.rgb) value = (value ^ byte) * 0x100000001B3;
  return fmt::format("{} {} {:016x}", image.width, image.height, value);
}

std::string what_we_read(const std::string& name) {
  try {
    return digest(decode(name));
  } catch (const DataError&) {
    return "refused";
  }
}

// What is thrown, or "".
template <typename Work>
std::string fault_of(Work&& work) {
  try {
    work();
  } catch (const DataError& error) {
    return error.what();
  }
  return "";
}

// Every sample as it is, cut at many places, and with one byte of it changed.
TEST_CASE("formats: what is checked without its pixels is what is decoded", "[unit]") {
  int told_early = 0;
  const auto compare = [&](const Bytes& bytes, const std::string& name, const std::string& how) {
    INFO(name << " " << how);
    ImageCheck check;
    Image image;
    const std::string checked = fault_of([&] { check = check_image(bytes, name); });
    const std::string decoded = fault_of([&] { image = decode_image(bytes, name); });
    CHECK(checked == decoded);
    CHECK(check.info.width == image.width);
    CHECK(check.info.height == image.height);
    told_early += checked.empty() && check.warnings.size() < image.warnings.size() ? 1 : 0;
  };
  std::istringstream lines(read_text(samples() / "pillow.txt"));
  for (std::string line; std::getline(lines, line);) {
    const std::string name = line.substr(0, line.find(' '));
    const Bytes whole = sample(name);
    compare(whole, name, "as it is");
    const std::size_t step = std::max<std::size_t>(1, whole.size() / 40);
    for (std::size_t at = 0; at < whole.size(); at += step) {
      compare({whole.begin(), whole.begin() + static_cast<std::ptrdiff_t>(at)}, name,
              fmt::format("cut at {}", at));
      Bytes changed = whole;
      changed[at] ^= std::byte{0x41};
      compare(changed, name, fmt::format("changed at {}", at));
    }
  }
  CHECK(told_early > 0);  // libjpeg's warnings of a scan, which a check does not make
}

TEST_CASE("formats: every sample is read as Pillow reads it", "[unit]") {
  std::istringstream lines(read_text(samples() / "pillow.txt"));
  int count = 0;
  for (std::string line; std::getline(lines, line); ++count) {
    const std::size_t space = line.find(' ');
    INFO(line);
    CHECK(what_we_read(line.substr(0, space)) == line.substr(space + 1));
  }
  CHECK(count > 50);
}

TEST_CASE("formats: the header says size and orientation", "[unit]") {
  for (const auto& [name, orientation] :
       {std::pair("exif6.jpg", 6), std::pair("exif8.png", 8), std::pair("exif3.webp", 3),
        std::pair("rgba.tif", 1), std::pair("top_down.bmp", 1)}) {
    INFO(name);
    const ImageInfo info = read_image_info(sample(name), name);
    CHECK((info.width == 13 && info.height == 9));
    CHECK(info.exif_orientation == orientation);
  }
}

TEST_CASE("formats: the cases of users are read, whatever their suffix", "[golden]") {
  const auto read = [](const char* name) {
    return decode_image(MappedFile(test::shared(std::string("cases/data/") + name)).bytes(), name);
  };
  // FNV-1a of what Pillow 13.0 reads; 09 and 11 are the same picture, damaged behind its pixels.
  const Image cut = read("pictures/09_trunc_last2.jpg");
  CHECK(cut.warnings == std::vector<std::string>{"JPEG without an end marker"});
  const Image extraneous = read("pictures/11_extraneous_before_eoi.jpg");
  CHECK(extraneous.rgb == cut.rgb);
  REQUIRE(extraneous.warnings.size() == 1);
  CHECK_THAT(extraneous.warnings[0], ContainsSubstring("extraneous bytes before marker 0xd9"));
  CHECK(digest(cut) == "320 240 26a3b7212e905bed");
  CHECK(digest(read("pictures/04_cmyk.jpg")) == "320 240 dc714fb5cc71863f");
  CHECK(digest(read("pictures/16_webp_named.jpg")) == "320 240 b568ef2a07fdbb3f");
  CHECK_THROWS_AS(read("pictures/34_bitflip.jpg"), DataError);  // Pillow refuses it, too
  CHECK(digest(read("yolo_webp_bmp/images/b.webp")) == "160 120 cd81620d770e724c");
  CHECK(digest(read("yolo_webp_bmp/images/c.bmp")) == "160 120 593a42536d23a65f");
  CHECK(digest(read("yolo_webp_bmp/images/e.tif")) == "160 120 e995f4a9a24ae18b");
}

TEST_CASE("formats: a JPEG is read without its end marker, never without a pixel", "[unit]") {
  for (const char* name : {"sub0.jpg", "sub2.jpg", "gray.jpg", "restarts.jpg", "progressive.jpg"}) {
    const Bytes whole = sample(name);
    const Image image = decode_image(whole, name);
    CHECK(image.warnings.empty());
    for (const std::size_t missing : {1U, 2U}) {
      INFO(name << " without " << missing);
      const Image cut = decode_image(std::span(whole).first(whole.size() - missing), name);
      CHECK(cut.rgb == image.rgb);
      CHECK(cut.warnings == std::vector<std::string>{"JPEG without an end marker"});
    }
    for (std::size_t missing = 4; missing < whole.size(); ++missing) {
      INFO(name << " without " << missing);
      CHECK_THROWS_AS(decode_image(std::span(whole).first(whole.size() - missing), name),
                      DataError);
    }
  }
}

// Cut between two scans, where every bit that was begun is there.
TEST_CASE("formats: a progressive JPEG without its last scan is refused", "[unit]") {
  const Bytes whole = sample("progressive.jpg");
  std::vector<std::size_t> scans;
  for (std::size_t i = 0; i + 1 < whole.size(); ++i)
    if (whole[i] == std::byte{0xFF} && whole[i + 1] == std::byte{0xDA}) scans.push_back(i);
  REQUIRE(scans.size() > 2);
  for (std::size_t i = 1; i < scans.size(); ++i) {
    INFO("before scan " << i);
    CHECK_THROWS_AS(decode_image(std::span(whole).first(scans[i]), "x"), DataError);
  }
}

TEST_CASE("formats: a marker among the pixels is warned of, as Pillow reads it", "[unit]") {
  Bytes bytes = sample("sub0.jpg");
  bytes[bytes.size() - 40] = std::byte{0xFF};
  bytes[bytes.size() - 39] = std::byte{0xD9};
  const Image image = decode_image(bytes, "x");
  REQUIRE(image.warnings.size() == 1);
  CHECK_THAT(image.warnings[0], ContainsSubstring("premature end of data segment"));
}

TEST_CASE("formats: what is known and not read is refused by name", "[unit]") {
  using namespace std::string_view_literals;
  for (const auto& [bytes, name] : {std::pair("GIF89a......"sv, "GIF"),
                                    std::pair("\0\0\0\x18"
                                              "ftypheic...."sv,
                                              "HEIC"),
                                    std::pair("\0\0\0\x18"
                                              "ftypavif...."sv,
                                              "AVIF"),
                                    std::pair("hello, world"sv, "neither JPEG")})
    CHECK_THROWS_MATCHES(decode_image(std::as_bytes(std::span(bytes)), "x.jpg"), DataError,
                         MessageMatches(ContainsSubstring(std::string("x.jpg: it is ") + name) &&
                                        ContainsSubstring("convert it to JPEG or PNG")));
}

// A PNG's header with any size; nothing behind it is looked at.
Bytes png_header(std::uint32_t width, std::uint32_t height) {
  Bytes bytes = sample("rgba.png");
  for (std::size_t i = 0; i < 4; ++i) {
    bytes[16 + i] = static_cast<std::byte>(width >> (24 - 8 * i));
    bytes[20 + i] = static_cast<std::byte>(height >> (24 - 8 * i));
  }
  return bytes;
}

TEST_CASE("formats: over 179 megapixels is refused before anything is allocated", "[unit]") {
  CHECK_THROWS_AS(read_image_info(png_header(1, 1), "x"), DataError);  // its checksum is another's
  Bytes bmp = sample("rgb.bmp");
  const auto set = [&](std::size_t at, std::uint32_t value) { std::memcpy(&bmp[at], &value, 4); };
  set(18, 17895697);
  set(22, 10);
  CHECK(read_image_info(bmp, "x").width == 17895697);
  set(22, 11);
  CHECK_THROWS_MATCHES(
      read_image_info(bmp, "big.bmp"), DataError,
      MessageMatches(ContainsSubstring("17895697 x 11 pixels") &&
                     ContainsSubstring("at most 178956970") && ContainsSubstring("scale it down")));
  set(22, 0x80000000);  // its negation is no 32-bit number
  CHECK_THROWS_AS(read_image_info(bmp, "x"), DataError);
}

TEST_CASE("formats: a BMP's pixel must be one of its colors", "[fault]") {
  Bytes bytes = sample("b4.bmp");
  const std::uint32_t colors = 3;
  std::memcpy(&bytes[46], &colors, sizeof colors);
  CHECK_THROWS_MATCHES(decode_image(bytes, "x"), DataError,
                       MessageMatches(ContainsSubstring("of 3")));
}

struct TiffKind {
  bool tiled = false, planar = false;
  std::uint16_t bits = 8, samples = 3, photometric = PHOTOMETRIC_RGB, orientation = 1;
};

// 40 x 24 pixels; sample s of pixel x, y is x + 2y + 50s (at 16 bits in the high byte).
constexpr std::uint32_t kTiffWidth = 40, kTiffHeight = 24, kTile = 16;
std::uint8_t tiff_value(std::uint32_t x, std::uint32_t y, std::uint32_t s) {
  return static_cast<std::uint8_t>(x + 2 * y + 50 * s);
}

std::vector<std::uint8_t> tiff_block(const TiffKind& kind, std::uint32_t left, std::uint32_t top,
                                     std::uint32_t width, std::uint32_t height, int plane) {
  std::vector<std::uint8_t> block;
  for (std::uint32_t y = top; y < top + height; ++y) {
    for (std::uint32_t x = left; x < left + width; ++x) {
      for (std::uint32_t s = 0; s < kind.samples; ++s) {
        if (plane >= 0 && s != static_cast<std::uint32_t>(plane)) continue;
        if (kind.bits == 16) block.push_back(0x77);  // the low byte, on this little-endian machine
        block.push_back(tiff_value(x, y, s));
      }
    }
  }
  return block;
}

Bytes make_tiff(const TiffKind& kind) {
  const TempDir folder("muster-tiff");
  const fs::path path = folder.path() / "x.tif";
  TIFF* tiff = TIFFOpen(path.c_str(), "wl");
  REQUIRE(tiff != nullptr);
  TIFFSetField(tiff, TIFFTAG_IMAGEWIDTH, kTiffWidth);
  TIFFSetField(tiff, TIFFTAG_IMAGELENGTH, kTiffHeight);
  TIFFSetField(tiff, TIFFTAG_BITSPERSAMPLE, kind.bits);
  TIFFSetField(tiff, TIFFTAG_SAMPLESPERPIXEL, kind.samples);
  TIFFSetField(tiff, TIFFTAG_PHOTOMETRIC, kind.photometric);
  TIFFSetField(tiff, TIFFTAG_ORIENTATION, kind.orientation);
  TIFFSetField(tiff, TIFFTAG_PLANARCONFIG,
               kind.planar ? PLANARCONFIG_SEPARATE : PLANARCONFIG_CONTIG);
  TIFFSetField(tiff, TIFFTAG_COMPRESSION, COMPRESSION_LZW);
  const std::uint32_t width = kind.tiled ? kTile : kTiffWidth, height = kind.tiled ? kTile : 10;
  if (kind.tiled) {
    TIFFSetField(tiff, TIFFTAG_TILEWIDTH, width);
    TIFFSetField(tiff, TIFFTAG_TILELENGTH, height);
  } else {
    TIFFSetField(tiff, TIFFTAG_ROWSPERSTRIP, height);
  }
  std::uint32_t index = 0;
  for (int plane = 0; plane < (kind.planar ? kind.samples : 1); ++plane) {
    for (std::uint32_t y = 0; y < kTiffHeight; y += height) {
      for (std::uint32_t x = 0; x < kTiffWidth; x += width) {
        const std::uint32_t rows = kind.tiled ? height : std::min(height, kTiffHeight - y);
        auto block = tiff_block(kind, x, y, width, rows, kind.planar ? plane : -1);
        const auto size = static_cast<tmsize_t>(block.size());
        if (kind.tiled) {
          TIFFWriteEncodedTile(tiff, index++, block.data(), size);
        } else {
          TIFFWriteEncodedStrip(tiff, index++, block.data(), size);
        }
      }
    }
  }
  TIFFClose(tiff);
  const std::string text = read_text(path);
  const auto bytes = std::as_bytes(std::span(text));
  return {bytes.begin(), bytes.end()};
}

int wrong_pixels(const Image& image, bool gray) {
  int wrong = 0;
  for (std::uint32_t y = 0; y < kTiffHeight; ++y) {
    for (std::uint32_t x = 0; x < kTiffWidth; ++x) {
      for (std::uint32_t s = 0; s < 3; ++s)
        wrong += image.rgb.at(3 * (y * kTiffWidth + x) + s) != tiff_value(x, y, gray ? 0 : s);
    }
  }
  return wrong;
}

TEST_CASE("formats: TIFF in strips and tiles, planes together and apart, 8 and 16 bits", "[unit]") {
  for (const bool tiled : {false, true}) {
    for (const bool planar : {false, true}) {
      for (const std::uint16_t bits : {8, 16}) {
        INFO("tiled " << tiled << ", planar " << planar << ", bits " << bits);
        const Image image =
            decode_image(make_tiff({.tiled = tiled, .planar = planar, .bits = bits}), "x");
        CHECK((image.width == kTiffWidth && image.height == kTiffHeight));
        CHECK(wrong_pixels(image, false) == 0);
        CHECK(image.warnings.size() == (bits == 16 ? 1 : 0));
      }
    }
  }
  const Image gray =
      decode_image(make_tiff({.samples = 1, .photometric = PHOTOMETRIC_MINISBLACK}), "x");
  CHECK(wrong_pixels(gray, true) == 0);
}

TEST_CASE("formats: a TIFF's orientation is told, its pixels stay as stored", "[unit]") {
  const Bytes bytes = make_tiff({.orientation = 6});
  CHECK(read_image_info(bytes, "x").exif_orientation == 6);
  CHECK(wrong_pixels(decode_image(bytes, "x"), false) == 0);
}

TEST_CASE("formats: TIFF colors that are not read are named", "[unit]") {
  CHECK_THROWS_MATCHES(decode_image(make_tiff({.photometric = PHOTOMETRIC_CIELAB}), "x"), DataError,
                       MessageMatches(ContainsSubstring("photometric")));
}

TEST_CASE("formats: every truncation of every sample is read whole or refused", "[fault]") {
  for (const auto& entry : fs::directory_iterator(samples())) {
    const std::string name = entry.path().filename().string();
    if (name == "pillow.txt") continue;
    const Bytes whole = sample(name);
    for (std::size_t size = 0; size < whole.size(); size += 5) {
      try {
        const Image image = decode_image(std::span(whole).first(size), name);
        CHECK(image.rgb.size() == std::size_t{13} * 9 * 3);
      } catch (const DataError& error) {
        CHECK_THAT(error.what(), ContainsSubstring(name));
      }
    }
  }
}

}  // namespace
}  // namespace muster::data
