// The inside of QwenVL, which the facade and generation share: the network with its options.
#pragma once

#include <cstdint>
#include <optional>

#include "base/tensors/micro_batch.h"
#include "model/files/config.h"
#include "model/qwen/layers.h"
#include "model/qwen/qwen_net.h"
#include "model/qwen/qwen_options.h"
#include "model/qwen/rope_index.h"
#include "model/qwen/weights.h"

namespace muster::model {

class QwenCore {
 public:
  QwenCore(const QwenConfig& config, const QwenOptions& options, const Weights& weights);

  const QwenConfig config;
  const QwenOptions options;
  QwenNet net;
  ForwardGate gate;

  // Waits until the parameters that start with `prefix` may be used.
  void enter(std::string_view prefix) const {
    if (gate) gate(prefix);
  }
  // What the adapters of later forward passes drop is drawn from this; none: they drop nothing.
  void set_dropout(std::optional<std::uint64_t> seed);
  VisionOutput vision(const at::Tensor& pixel_values, const at::Tensor& grid_thw, bool merge);
  QwenOutput forward(const MicroBatch& batch, const RopeIndex& rope, KvCache* cache = nullptr);

 private:
  bool vision_trained();  // some parameter of the tower wants a gradient
  // [tokens] -> [tokens, hidden]
  at::Tensor embed(const at::Tensor& input_ids, std::shared_ptr<TiedGradient> tied) const;
};

// Throws DataError unless the batch's vision tensors are both there or both absent, and its offsets
// cover its tokens.
void check_batch(const MicroBatch& batch);

}  // namespace muster::model
