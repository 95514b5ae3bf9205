#include "data/images/picture_file.h"

#include <catch2/catch_test_macros.hpp>
#include <string>
#include <string_view>

namespace muster::data {
namespace {

using namespace std::string_view_literals;

PictureFormat sniff(std::string_view text) { return sniff_format(std::as_bytes(std::span(text))); }

TEST_CASE("pictures are known by their suffix, of any case", "[unit]") {
  for (const char* name :
       {"a.jpg", "b.Png", "c.JPEG", "d.Jpg", "x.y/e.pNG", "f.WebP", "g.BMP", "h.tif", "i.TIFF"})
    CHECK(is_picture_file(name));
  for (const char* name : {"a.gif", "jpg", ".png", "a.png.txt", "a.jpg/b", "a.tiffs"})
    CHECK_FALSE(is_picture_file(name));
}

TEST_CASE("formats are known by their first bytes", "[unit]") {
  CHECK(sniff("\xFF\xD8\xFF\xE0"sv) == PictureFormat::kJpeg);
  CHECK(sniff("\x89PNG\r\n\x1A\n...."sv) == PictureFormat::kPng);
  CHECK(sniff("RIFF....WEBPVP8 "sv) == PictureFormat::kWebp);
  CHECK(sniff("BM......"sv) == PictureFormat::kBmp);
  for (const std::string_view text : {"II*\0"sv, "MM\0*"sv, "II+\0"sv, "MM\0+"sv})
    CHECK(sniff(text) == PictureFormat::kTiff);
  CHECK(sniff("GIF89a"sv) == PictureFormat::kGif);
  CHECK(sniff("\0\0\0\x18"
              "ftypheic"sv) == PictureFormat::kHeic);
  CHECK(sniff("\0\0\0\x18"
              "ftypmif1"sv) == PictureFormat::kHeic);
  CHECK(sniff("\0\0\0\x18"
              "ftypavif"sv) == PictureFormat::kAvif);
  CHECK(sniff("\0\0\0\x0CJXL \r\n\x87\n"sv) == PictureFormat::kJpegXl);
  CHECK(sniff("\0\0\0\x0CjP  \r\n\x87\n"sv) == PictureFormat::kJpeg2000);
  for (const std::string_view text : {""sv, "\xFF\xD8"sv, "RIFF....WAVE"sv, "hello"sv})
    CHECK(sniff(text) == PictureFormat::kUnknown);
  CHECK(format_name(PictureFormat::kAvif) == "AVIF"sv);
}

}  // namespace
}  // namespace muster::data
