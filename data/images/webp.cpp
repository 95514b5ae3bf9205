// libwebp's one-call decoder: it reads a whole picture or none of it.
#include <webp/decode.h>

#include <cstddef>
#include <string_view>
#include <vector>

#include "data/images/decoders.h"

namespace muster::data {
namespace {

std::span<const std::uint8_t> as_uint8(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const std::uint8_t*>(bytes.data()), bytes.size()};
}

WebPBitstreamFeatures read_features(std::span<const std::uint8_t> bytes, std::string_view name) {
  WebPBitstreamFeatures features;
  const VP8StatusCode status = WebPGetFeatures(bytes.data(), bytes.size(), &features);
  if (status == VP8_STATUS_NOT_ENOUGH_DATA) throw_bad_image(name, "the WebP file is cut short");
  if (status != VP8_STATUS_OK) throw_bad_image(name, "the WebP header is damaged");
  check_image_size(features.width, features.height, name);
  if (features.has_animation != 0)
    throw_bad_image(name, "it is an animated WebP; convert the frame that is meant to JPEG or PNG");
  return features;
}

std::size_t little_endian_32(std::span<const std::uint8_t> bytes, std::size_t at) {
  std::size_t value = 0;
  for (std::size_t i = 4; i-- > 0;) value = value << 8 | bytes[at + i];
  return value;
}

// RIFF: "RIFF", size, "WEBP", then chunks of a name (4), a size (4) and bytes, padded to an even
// number.
int webp_orientation(std::span<const std::uint8_t> bytes) {
  constexpr std::size_t kRiffHeader = 12, kChunkHeader = 8;
  constexpr std::string_view kPrefix("Exif\0\0", 6);  // some writers keep JPEG's
  for (std::size_t at = kRiffHeader; at + kChunkHeader <= bytes.size();) {
    const std::size_t size = little_endian_32(bytes, at + 4);
    const std::span<const std::uint8_t> body = bytes.subspan(at + kChunkHeader);
    if (size > body.size()) return 1;
    if (std::string_view(reinterpret_cast<const char*>(&bytes[at]), 4) == "EXIF") {
      const std::span<const std::uint8_t> exif = body.first(size);
      const std::string_view text(reinterpret_cast<const char*>(exif.data()), exif.size());
      return exif_orientation(text.starts_with(kPrefix) ? exif.subspan(kPrefix.size()) : exif);
    }
    at += kChunkHeader + size + size % 2;
  }
  return 1;
}

}  // namespace

ImageInfo read_webp_info(std::span<const std::byte> bytes, std::string_view name) {
  const WebPBitstreamFeatures features = read_features(as_uint8(bytes), name);
  return {features.width, features.height, webp_orientation(as_uint8(bytes))};
}

Image decode_webp(std::span<const std::byte> bytes, std::string_view name) {
  const std::span<const std::uint8_t> data = as_uint8(bytes);
  const WebPBitstreamFeatures features = read_features(data, name);
  const int channels = features.has_alpha != 0 ? 4 : 3;
  const int stride = features.width * channels;
  std::vector<std::uint8_t> pixels(static_cast<std::size_t>(stride) *
                                   static_cast<std::size_t>(features.height));
  const auto decode = channels == 4 ? WebPDecodeRGBAInto : WebPDecodeRGBInto;
  if (decode(data.data(), data.size(), pixels.data(), pixels.size(), stride) == nullptr)
    throw_bad_image(name, "the WebP data is damaged or cut short");
  if (channels == 4) return flatten(features.width, features.height, pixels);
  return {features.width, features.height, std::move(pixels)};
}

}  // namespace muster::data
