#include "data/images/check.h"

#include <utility>

#include "data/images/codec.h"
#include "data/images/decoders.h"
#include "data/images/picture_file.h"

namespace muster::data {

ImageCheck check_image(std::span<const std::byte> bytes, std::string_view name) {
  const PictureFormat format = sniff_format(bytes);
  ImageCheck check;
  if (format == PictureFormat::kJpeg && is_sound_jpeg(bytes, check.info)) return check;
  check.info = read_image_info(bytes, name);
  if (format == PictureFormat::kPng && is_sound_png(bytes, check.warnings)) return check;
  Image image = decode_image(bytes, name);
  check.warnings = std::move(image.warnings);
  return check;
}

}  // namespace muster::data
