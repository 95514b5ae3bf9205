// Inside of QwenVL, shared by the facade and generation.
#pragma once

#include "model/qwen/qwen_net.h"
#include "model/qwen/qwen_vl.h"
#include "model/qwen/weights.h"

namespace muster::model {

struct QwenVL::Impl {
  QwenConfig config;
  QwenOptions options;
  QwenNet net;
  ForwardGate gate;

  Impl(const QwenConfig& c, const QwenOptions& o, Weights weights);

  void enter(std::string_view prefix) const {
    if (gate) gate(prefix);
  }
  bool vision_trained();  // some parameter of the tower wants a gradient
  VisionOutput vision(const at::Tensor& pixel_values, const at::Tensor& grid_thw);
  at::Tensor embed(const at::Tensor& input_ids) const;  // [tokens] -> [tokens, hidden]
  QwenOutput forward(const MicroBatch& batch, const RopeIndex& rope, KvCache* cache = nullptr);
};

// Throws DataError unless the batch's vision tensors are both there or both absent, and its offsets
// cover its tokens.
void check_batch(const MicroBatch& batch);

}  // namespace muster::model
