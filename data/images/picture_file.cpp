#include "data/images/picture_file.h"

#include <algorithm>
#include <array>
#include <string>
#include <string_view>

#include "base/files.h"

namespace muster::data {
namespace {

using namespace std::string_view_literals;

constexpr std::array kSuffixes{".jpg"sv, ".jpeg"sv, ".png"sv, ".webp"sv,
                               ".bmp"sv, ".tif"sv,  ".tiff"sv};

// Bytes that all files of a format have at one place.
struct Magic {
  PictureFormat format;
  std::size_t at;
  std::string_view bytes;
};

constexpr Magic kMagics[] = {
    {PictureFormat::kJpeg, 0, "\xFF\xD8\xFF"sv},
    {PictureFormat::kPng, 0, "\x89PNG\r\n\x1A\n"sv},
    {PictureFormat::kWebp, 8, "WEBP"sv},
    {PictureFormat::kTiff, 0, "II*\0"sv},
    {PictureFormat::kTiff, 0, "MM\0*"sv},
    {PictureFormat::kTiff, 0, "II+\0"sv},  // BigTIFF
    {PictureFormat::kTiff, 0, "MM\0+"sv},
    {PictureFormat::kGif, 0, "GIF8"sv},
    {PictureFormat::kAvif, 4, "ftypavif"sv},
    {PictureFormat::kAvif, 4, "ftypavis"sv},
    {PictureFormat::kHeic, 4, "ftyphei"sv},
    {PictureFormat::kHeic, 4, "ftyphev"sv},
    {PictureFormat::kHeic, 4, "ftypmif1"sv},
    {PictureFormat::kHeic, 4, "ftypmsf1"sv},
    {PictureFormat::kJpegXl, 0, "\xFF\x0A"sv},
    {PictureFormat::kJpegXl, 4, "JXL \r\n"sv},
    {PictureFormat::kJpeg2000, 4, "jP  \r\n"sv},
    {PictureFormat::kJpeg2000, 0, "\xFF\x4F\xFF\x51"sv},
    {PictureFormat::kBmp, 0, "BM"sv},  // the shortest: last
};

}  // namespace

bool is_picture_file(const std::filesystem::path& path) {
  return std::ranges::find(kSuffixes, std::string_view(lower_extension(path))) != kSuffixes.end();
}

PictureFormat sniff_format(std::span<const std::byte> bytes) {
  const std::string_view text(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  for (const Magic& magic : kMagics)
    if (text.size() > magic.at && text.substr(magic.at).starts_with(magic.bytes))
      return magic.format;
  return PictureFormat::kUnknown;
}

const char* format_name(PictureFormat format) {
  switch (format) {
    case PictureFormat::kJpeg: return "JPEG";
    case PictureFormat::kPng: return "PNG";
    case PictureFormat::kWebp: return "WebP";
    case PictureFormat::kBmp: return "BMP";
    case PictureFormat::kTiff: return "TIFF";
    case PictureFormat::kGif: return "GIF";
    case PictureFormat::kHeic: return "HEIC";
    case PictureFormat::kAvif: return "AVIF";
    case PictureFormat::kJpegXl: return "JPEG XL";
    case PictureFormat::kJpeg2000: return "JPEG 2000";
    case PictureFormat::kUnknown: break;
  }
  return "unknown";
}

}  // namespace muster::data
