// Grows one micro-batch sample by sample; its tensors are made once, at the end.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

#include "base/tensors/micro_batch.h"
#include "data/chat.h"
#include "data/images/image.h"
#include "data/picture_plan.h"

namespace muster::data {

class BatchBuilder {
 public:
  BatchBuilder() { batch_.cu_seqlens = {0}; }

  void add_text(std::int64_t sample_id, const ChatTokens& text);
  // The picture belongs to the sample that was added last. It is resized and cut into patches here.
  void add_image(const Image& image, const ImagePlan& plan);
  void add_targets(ImageTargets targets);  // of the picture that was added last
  MicroBatch finish();                     // REQUIRES no call after it

 private:
  MicroBatch batch_;
  std::vector<std::int64_t> ids_, labels_, grids_;
  std::vector<at::Tensor> pixels_;  // per picture [patches, patch_dim] f32
};

}  // namespace muster::data
