// Pictures from bytes and back. JPEG, PNG, WebP, BMP and TIFF are read, recognised by content.
#pragma once

#include <cstddef>
#include <span>
#include <string_view>
#include <vector>

#include "data/images/image.h"

namespace muster::data {

// The pixels as Pillow's convert("RGB") gives them, with three differences: alpha lies over white,
// 16 bits a sample keep their high byte also in gray pictures (Pillow clips those), and a JPEG
// without an end marker is always read when no pixel is missing. No EXIF rotation. What libjpeg
// only warns of is read, and stands in the image's `warnings`. `name` goes into the DataError for
// anything that is corrupt, cut short, unknown, animated, or over 178,956,970 pixels.
Image decode_image(std::span<const std::byte> bytes, std::string_view name);
ImageInfo read_image_info(std::span<const std::byte> bytes, std::string_view name);  // header only

std::vector<std::byte> encode_jpeg(const Image& image, int quality);
std::vector<std::byte> encode_png(const Image& image);

}  // namespace muster::data
