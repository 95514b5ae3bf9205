#pragma once

#include <cstdint>

namespace muster::data {

struct SynthOptions {
  std::int64_t images = 0, size = 0, seed = 0;  // size: side in pixels
  std::int64_t min_shapes = 1, max_shapes = 4;
  std::int64_t min_extent = 28,
               max_extent = 70;  // of a shape, pixels; scaled down when size is small
};

}  // namespace muster::data
