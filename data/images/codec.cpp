#include "data/images/codec.h"

#include <fmt/core.h>

#include <algorithm>
#include <array>

#include "base/error.h"
#include "data/images/decoders.h"
#include "data/images/image.h"

namespace muster::data {
namespace {

enum class Format { kJpeg, kPng };

bool starts_with(std::span<const std::byte> bytes, std::span<const std::uint8_t> magic) {
  return bytes.size() >= magic.size() &&
         std::equal(magic.begin(), magic.end(), bytes.begin(),
                    [](std::uint8_t want, std::byte got) {
                      return std::to_integer<std::uint8_t>(got) == want;
                    });
}

Format recognise(std::span<const std::byte> bytes, std::string_view name) {
  constexpr std::array<std::uint8_t, 3> kJpegMagic{0xFF, 0xD8, 0xFF};
  constexpr std::array<std::uint8_t, 8> kPngMagic{0x89, 'P', 'N', 'G', '\r', '\n', 0x1A, '\n'};
  if (starts_with(bytes, kJpegMagic)) return Format::kJpeg;
  if (starts_with(bytes, kPngMagic)) return Format::kPng;
  throw_bad_image(name, bytes.empty() ? "it is empty"
                                      : "it is neither JPEG nor PNG; convert it to one of them");
}

}  // namespace

void throw_bad_image(std::string_view name, const std::string& why) {
  throw DataError(fmt::format("cannot read image {}: {}", name, why));
}

void check_image_size(std::int64_t width, std::int64_t height, std::string_view name) {
  if (width > 0 && height > 0 && width <= kMaxImagePixels / height) return;
  throw_bad_image(name, fmt::format("its header says {} x {} pixels; at most {} pixels are taken",
                                    width, height, kMaxImagePixels));
}

Image decode_image(std::span<const std::byte> bytes, std::string_view name) {
  return recognise(bytes, name) == Format::kJpeg ? decode_jpeg(bytes, name)
                                                 : decode_png(bytes, name);
}

ImageInfo read_image_info(std::span<const std::byte> bytes, std::string_view name) {
  return recognise(bytes, name) == Format::kJpeg ? read_jpeg_info(bytes, name)
                                                 : read_png_info(bytes, name);
}

}  // namespace muster::data
