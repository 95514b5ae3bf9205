// Pictures of every format: header, pixels, and the turned picture.
#include <span>

#include "data/images/codec.h"
#include "data/images/upright.h"
#include "fuzz.h"

using namespace muster;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  constexpr std::int64_t kMostPixels = 1 << 18;  // larger ones only cost time
  const auto bytes = std::as_bytes(std::span(data, size));
  return fuzz::read_damaged([&] {
    const data::ImageInfo info = data::read_image_info(bytes, "input");
    if (info.width * info.height > kMostPixels) return;
    const data::Image image = data::decode_image(bytes, "input");
    if (image.rgb.size() != static_cast<std::size_t>(image.width * image.height * 3))
      __builtin_trap();
    if (image.width != info.width || image.height != info.height) __builtin_trap();
    data::upright(image, info.exif_orientation);
  });
}
