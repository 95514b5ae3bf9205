#include "data/picture_plan.h"

#include <fmt/core.h>

#include <algorithm>

#include "base/error.h"

namespace muster::data {
namespace {

ImagePlan plan_with(std::int64_t width, std::int64_t height, const PatchOptions& patches,
                    const std::string& where) {
  ImagePlan plan;
  plan.patches = patches;
  try {
    plan.resized =
        smart_resize(height, width, patches.factor(), patches.min_pixels, patches.max_pixels);
  } catch (const DataError& error) {
    throw DataError(fmt::format("{}: {}", where, error.what()));
  }
  plan.grid = {1, plan.resized.height / patches.patch_size,
               plan.resized.width / patches.patch_size};
  plan.vision_tokens = plan.grid.patches() / (patches.merge_size * patches.merge_size);
  return plan;
}

void sum_up(PicturesPlan& plan) {
  plan.vision_tokens = 0;
  for (const ImagePlan& picture : plan.pictures) plan.vision_tokens += picture.vision_tokens;
}

}  // namespace

PicturesPlan plan_pictures(std::span<const Picture> pictures, const VisionBudget& budget,
                           const std::string& where) {
  PicturesPlan plan;
  for (const Picture& picture : pictures)
    plan.pictures.push_back(plan_with(picture.width, picture.height, budget.patches, where));
  sum_up(plan);
  if (plan.vision_tokens <= budget.max_vision_tokens) return plan;
  if (budget.resize_over_budget) {
    for (std::size_t k = 0; k < pictures.size(); ++k) {
      const double share = static_cast<double>(plan.pictures[k].vision_tokens) /
                           static_cast<double>(plan.vision_tokens);
      const auto tokens = std::max<std::int64_t>(
          1, static_cast<std::int64_t>(share * static_cast<double>(budget.max_vision_tokens)));
      PatchOptions patches = budget.patches;
      patches.max_pixels = tokens * patches.factor() * patches.factor();
      patches.min_pixels = std::min(patches.min_pixels, patches.max_pixels);
      plan.pictures[k] = plan_with(pictures[k].width, pictures[k].height, patches, where);
      plan.pictures[k].shrunk = true;
    }
    plan.shrunk = true;
    sum_up(plan);
  }
  // Still over only for extreme aspect ratios, whose short side is one token already, and for more
  // pictures than tokens.
  plan.dropped = plan.vision_tokens > budget.max_vision_tokens;
  for (ImagePlan& picture : plan.pictures) picture.dropped = plan.dropped;
  return plan;
}

ImagePlan plan_image(std::int64_t width, std::int64_t height, const VisionBudget& budget,
                     const std::string& where) {
  const Picture picture{.path = {}, .width = width, .height = height};
  return plan_pictures({&picture, 1}, budget, where).pictures.front();
}

}  // namespace muster::data
