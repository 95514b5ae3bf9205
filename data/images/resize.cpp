// Pillow 11's resampling (src/libImaging/Resample.c) to the bit: coefficients normalised in double,
// rounded to 22-bit fixed point, a horizontal pass and then a vertical one, each rounded and
// clipped to 8 bits.
#include "data/images/resize.h"

#include <cstdint>
#include <stdexcept>

#include "data/images/resample.h"

namespace muster::data {

Image resize_bicubic(const Image& image, std::int64_t width, std::int64_t height) {
  return resize_bicubic(image, width, height, best_resample_isa());
}

Image resize_bicubic(const Image& image, std::int64_t width, std::int64_t height, ResampleIsa isa) {
  if (width <= 0 || height <= 0 || image.width <= 0 || image.height <= 0)
    throw std::logic_error("resize_bicubic: an image without area");
  if (width == image.width && height == image.height) return {width, height, image.rgb};
  Image out{width, height, Pixels::to_write(static_cast<std::size_t>(3 * width * height))};
  Raster rows{image.rgb.data(), image.width, image.height};
  if (height == image.height) {
    resample_rows(rows, resample_weights(image.width, width), out.rgb.data(), isa);
    return out;
  }
  Pixels between;
  if (width != image.width) {
    between = Pixels::to_write(static_cast<std::size_t>(3 * width * image.height));
    resample_rows(rows, resample_weights(image.width, width), between.data(), isa);
    rows = {between.data(), width, image.height};
  }
  resample_columns(rows, resample_weights(image.height, height), out.rgb.data(), isa);
  return out;
}

}  // namespace muster::data
