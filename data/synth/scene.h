// One scene of the synthetic set, drawn with integers only, so that it is the same on every
// machine.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "data/images/image.h"
#include "data/synth/options.h"

namespace muster::data {

// The six labels in category order: id = index + 1.
const std::array<std::string, 6>& synth_labels();

struct SceneObject {
  std::int64_t label = 0;  // into synth_labels()
  std::array<std::int64_t, 4>
      box{};  // x1, y1, x2, y2: bounds of the pixels that are this shape's in the finished image
  std::int64_t area = 0;  // their number
};

struct Scene {
  Image image;
  std::vector<SceneObject> objects;  // bottom to top
  std::vector<std::int32_t> owner;   // [height, width] index into objects, -1 background
};

Scene render_scene(const SynthOptions& options, std::int64_t index);

}  // namespace muster::data
