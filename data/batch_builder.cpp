#include "data/batch_builder.h"

#include <algorithm>
#include <utility>

namespace muster::data {

void BatchBuilder::add_text(std::int64_t sample_id, const ChatTokens& text) {
  batch_.sample_ids.push_back(sample_id);
  ids_.insert(ids_.end(), text.input_ids.begin(), text.input_ids.end());
  labels_.insert(labels_.end(), text.labels.begin(), text.labels.end());
  batch_.cu_seqlens.push_back(static_cast<std::int64_t>(ids_.size()));
  batch_.denominators.tokens += std::count_if(text.labels.begin(), text.labels.end(),
                                              [](auto id) { return id != kIgnoreLabel; });
}

void BatchBuilder::add_image(const Image& image, const ImagePlan& plan) {
  batch_.image_samples.push_back(batch_.num_samples() - 1);
  batch_.image_sizes.push_back({image.width, image.height});
  grids_.insert(grids_.end(), {plan.grid.t, plan.grid.h, plan.grid.w});
  pixels_.push_back(at::empty({plan.grid.patches(), plan.patches.patch_dim()}, at::kFloat));
  patchify(image, plan.patches,
           {static_cast<float*>(pixels_.back().data_ptr()),
            static_cast<std::size_t>(pixels_.back().numel())});
}

void BatchBuilder::add_targets(ImageTargets targets) {
  batch_.denominators.boxes += static_cast<std::int64_t>(targets.captions.size());
  for (const auto& caption : targets.captions)
    batch_.denominators.caption_tokens += static_cast<std::int64_t>(caption.size()) + 1;
  batch_.targets.push_back(std::move(targets));
}

MicroBatch BatchBuilder::finish() {
  batch_.input_ids = at::tensor(ids_, at::kLong);
  batch_.labels = at::tensor(labels_, at::kLong);
  if (!batch_.image_samples.empty()) {
    batch_.grid_thw = at::tensor(grids_, at::kLong).view({-1, 3});
    // The allocator's alignment, always the same: a matrix product's bits may depend on it (law 9).
    batch_.pixel_values = pixels_.size() == 1 ? pixels_.front() : at::cat(pixels_);
  }
  return std::move(batch_);
}

}  // namespace muster::data
