// Pictures from bytes and back: JPEG and PNG, recognised by content.
#pragma once

#include <cstddef>
#include <span>
#include <string_view>
#include <vector>

#include "data/images/image.h"

namespace muster::data {

// JPEG (baseline and progressive, gray or color) and PNG (alpha composited on white). No EXIF
// rotation. `name` goes into the DataError for anything corrupt, truncated or unknown; libjpeg
// warnings count as corrupt.
Image decode_image(std::span<const std::byte> bytes, std::string_view name);
ImageInfo read_image_info(std::span<const std::byte> bytes, std::string_view name);  // header only

std::vector<std::byte> encode_jpeg(const Image& image, int quality);
std::vector<std::byte> encode_png(const Image& image);

}  // namespace muster::data
