// Private to data/images: one decoder per format, and what they share.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "data/images/image.h"

namespace muster::data {

// Where Pillow raises its DecompressionBombError; a header that says more is taken for damaged.
constexpr std::int64_t kMaxImagePixels = 178'956'970;

[[noreturn]] void throw_bad_image(std::string_view name, const std::string& why);
void check_image_size(std::int64_t width, std::int64_t height, std::string_view name);

Image decode_jpeg(std::span<const std::byte> bytes, std::string_view name);
ImageInfo read_jpeg_info(std::span<const std::byte> bytes, std::string_view name);
// Whether decode_jpeg() is known to succeed, from headers and markers alone. Fills `info`.
bool is_sound_jpeg(std::span<const std::byte> bytes, ImageInfo& info);
Image decode_png(std::span<const std::byte> bytes, std::string_view name);
ImageInfo read_png_info(std::span<const std::byte> bytes, std::string_view name);
// Whether decode_png() is known to succeed, from chunks alone. REQUIRES read_png_info() did. Adds
// what decode_png() warns of.
bool is_sound_png(std::span<const std::byte> bytes, std::vector<std::string>& warnings);
Image decode_webp(std::span<const std::byte> bytes, std::string_view name);
ImageInfo read_webp_info(std::span<const std::byte> bytes, std::string_view name);
Image decode_bmp(std::span<const std::byte> bytes, std::string_view name);
ImageInfo read_bmp_info(std::span<const std::byte> bytes, std::string_view name);
Image decode_tiff(std::span<const std::byte> bytes, std::string_view name);
ImageInfo read_tiff_info(std::span<const std::byte> bytes, std::string_view name);

// Orientation tag of a TIFF block as EXIF holds it, either byte order. 1 when absent or the block
// is malformed.
int exif_orientation(std::span<const std::uint8_t> tiff);

// a * b / 255, rounded as Pillow rounds it.
constexpr unsigned multiply_255(unsigned a, unsigned b) {
  const unsigned sum = a * b + 128U;
  return (sum + (sum >> 8)) >> 8;
}

// One sample over white: (over * alpha + 255 * (255 - alpha)) / 255, rounded.
constexpr std::uint8_t on_white(unsigned over, unsigned alpha) {
  const unsigned sum = over * alpha + 255U * (255U - alpha) + 128U;
  return static_cast<std::uint8_t>((sum + (sum >> 8)) >> 8);
}

// CMYK to RGB as Pillow converts it: 0 is no ink.
constexpr void cmyk_to_rgb(const std::uint8_t* cmyk, std::uint8_t* rgb) {
  const unsigned white = 255U - cmyk[3];
  for (int c = 0; c < 3; ++c)
    rgb[c] = static_cast<std::uint8_t>(white - multiply_255(cmyk[c], white));
}

// An image of this size with `rgba` [height, width, 4] over white.
Image flatten(std::int64_t width, std::int64_t height, std::span<const std::uint8_t> rgba);

}  // namespace muster::data
