// Private to data/images: one decoder per format, and what they share.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "data/images/image.h"

namespace muster::data {

// More pixels than this is taken for a damaged header (805 MB of RGB).
constexpr std::int64_t kMaxImagePixels = std::int64_t{1} << 28;

[[noreturn]] void throw_bad_image(std::string_view name, const std::string& why);
void check_image_size(std::int64_t width, std::int64_t height, std::string_view name);

Image decode_jpeg(std::span<const std::byte> bytes, std::string_view name);
ImageInfo read_jpeg_info(std::span<const std::byte> bytes, std::string_view name);
Image decode_png(std::span<const std::byte> bytes, std::string_view name);
ImageInfo read_png_info(std::span<const std::byte> bytes, std::string_view name);

// Orientation tag of a TIFF block as EXIF holds it, either byte order. 1 when absent or the block
// is malformed.
int exif_orientation(std::span<const std::uint8_t> tiff);

}  // namespace muster::data
