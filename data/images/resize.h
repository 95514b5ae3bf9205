#pragma once

#include <cstdint>

#include "data/images/image.h"
#include "data/images/resample.h"

namespace muster::data {

// Pillow's Image.resize(BICUBIC): a = -0.5, antialiased, two 8-bit fixed-point passes (Pillow,
// src/libImaging/Resample.c).
Image resize_bicubic(const Image& image, std::int64_t width, std::int64_t height);
// The same with one instruction set. REQUIRES cpu_has(isa).
Image resize_bicubic(const Image& image, std::int64_t width, std::int64_t height, ResampleIsa isa);

}  // namespace muster::data
