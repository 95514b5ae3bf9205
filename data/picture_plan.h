// How pictures enter the model, known from their sizes alone.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "data/images/patchify.h"
#include "data/pack/sample.h"

namespace muster::data {

// What a sample's pictures may cost.
struct VisionBudget {
  PatchOptions patches;
  std::int64_t max_vision_tokens = 0;  // of one sample
  bool resize_over_budget = false;     // otherwise such a sample is dropped
};

struct ImagePlan {
  PatchOptions patches;  // max_pixels lowered when shrunk to fit the budget
  Size resized;          // in pixels
  Grid grid;             // in patches
  std::int64_t vision_tokens = 0;
  bool dropped = false, shrunk = false;
};
// One picture that is a sample of its own. Throws DataError naming `where` when it cannot be
// resized (aspect ratio).
ImagePlan plan_image(std::int64_t width, std::int64_t height, const VisionBudget& budget,
                     const std::string& where);

// All pictures of a sample. Over the budget with `resize_over_budget`, each picture gets the share
// of the budget that it has of the tokens (rounded down, at least one token), so that all shrink
// alike.
struct PicturesPlan {
  std::vector<ImagePlan> pictures;
  std::int64_t vision_tokens = 0;
  bool dropped = false, shrunk = false;
};
PicturesPlan plan_pictures(std::span<const Picture> pictures, const VisionBudget& budget,
                           const std::string& where);

}  // namespace muster::data
