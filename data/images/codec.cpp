#include "data/images/codec.h"

#include <fmt/core.h>

#include "base/error.h"
#include "data/images/decoders.h"
#include "data/images/image.h"
#include "data/images/picture_file.h"

namespace muster::data {
namespace {

[[noreturn]] void refuse_format(PictureFormat format, std::span<const std::byte> bytes,
                                std::string_view name) {
  if (bytes.empty()) throw_bad_image(name, "it is empty");
  if (format == PictureFormat::kUnknown)
    throw_bad_image(
        name,
        "it is neither JPEG, PNG, WebP, BMP nor TIFF by its content; convert it to JPEG or PNG");
  throw_bad_image(name, fmt::format("it is {}, which is not read; convert it to JPEG or PNG",
                                    format_name(format)));
}

}  // namespace

void throw_bad_image(std::string_view name, const std::string& why) {
  throw DataError(fmt::format("cannot read image {}: {}", name, why));
}

void check_image_size(std::int64_t width, std::int64_t height, std::string_view name) {
  if (width > 0 && height > 0 && width <= kMaxImagePixels / height) return;
  throw DataError(
      fmt::format("image {}: its header says {} x {} pixels; at most {} pixels are taken (D-014); "
                  "scale it down",
                  name, width, height, kMaxImagePixels));
}

Image flatten(std::int64_t width, std::int64_t height, std::span<const std::uint8_t> rgba) {
  Image image{width, height, {}};
  image.rgb.resize(rgba.size() / 4 * 3);
  std::uint8_t* out = image.rgb.data();
  for (std::size_t i = 0; i < rgba.size(); i += 4) {
    for (std::size_t c = 0; c < 3; ++c) *out++ = on_white(rgba[i + c], rgba[i + 3]);
  }
  return image;
}

Image decode_image(std::span<const std::byte> bytes, std::string_view name) {
  switch (const PictureFormat format = sniff_format(bytes)) {
    case PictureFormat::kJpeg: return decode_jpeg(bytes, name);
    case PictureFormat::kPng: return decode_png(bytes, name);
    case PictureFormat::kWebp: return decode_webp(bytes, name);
    case PictureFormat::kBmp: return decode_bmp(bytes, name);
    case PictureFormat::kTiff: return decode_tiff(bytes, name);
    default: refuse_format(format, bytes, name);
  }
}

ImageInfo read_image_info(std::span<const std::byte> bytes, std::string_view name) {
  switch (const PictureFormat format = sniff_format(bytes)) {
    case PictureFormat::kJpeg: return read_jpeg_info(bytes, name);
    case PictureFormat::kPng: return read_png_info(bytes, name);
    case PictureFormat::kWebp: return read_webp_info(bytes, name);
    case PictureFormat::kBmp: return read_bmp_info(bytes, name);
    case PictureFormat::kTiff: return read_tiff_info(bytes, name);
    default: refuse_format(format, bytes, name);
  }
}

}  // namespace muster::data
