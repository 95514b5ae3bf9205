// What one sample is in a micro-batch, known without reading its pictures.
#pragma once

#include <cstdint>

#include "base/tensors/micro_batch.h"

namespace muster::data {

struct SampleSize {
  bool dropped = false;  // over the vision-token budget
  bool resized = false;  // shrunk to fit it
  std::int64_t tokens = 0, vision_tokens = 0;
  Denominators denominators;
  bool operator==(const SampleSize&) const = default;
};

}  // namespace muster::data
