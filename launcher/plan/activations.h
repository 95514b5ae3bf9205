// What autograd keeps between forward and backward, estimated from the shapes of the network and of
// one micro-batch.
#pragma once

#include <cstdint>

#include "configs/config.h"
#include "data/sampler.h"
#include "model/files/config.h"

namespace muster::launcher {

struct MicroBatchShape {
  std::int64_t samples = 0, tokens = 0, vision_tokens = 0;
  std::int64_t labels = 0;  // tokens the LM loss is taken at
  std::int64_t objects = 0, caption_tokens = 0;
  bool from_pack = false;  // of a real micro-batch; else the config's limits
  // Token ids that open captions can say; 0: all of the vocabulary, or the pack was not read.
  std::int64_t caption_words = 0;
};

// The largest micro-batch the limits of `batch` and `data` allow.
MicroBatchShape largest_allowed(const configs::Config& config);
// The largest micro-batch of the first epoch. Reads data.train; throws what reading it throws.
MicroBatchShape largest_in_pack(const configs::Config& config, const model::QwenConfig& model);
// The same micro-batch under lower limits.
MicroBatchShape limited(MicroBatchShape shape, const configs::Config& config);

struct ActivationBytes {
  std::int64_t vision = 0, language = 0, head = 0;  // kept for backward
  std::int64_t logits = 0;  // a chunk, its softmax, and gradients of the vocabulary's matrix
  std::int64_t input = 0;   // pixels, and the loader's micro-batches in waiting
  std::int64_t total() const { return vision + language + head + logits + input; }
};
// Whether something in the vision tower or behind it there learns: else it keeps no activations.
bool vision_trained(const configs::Config& config);
ActivationBytes estimate_activations(const configs::Config& config, const model::QwenConfig& model,
                                     const MicroBatchShape& shape);

// Multiply-adds count two. One micro-batch, without recomputation.
struct ForwardFlops {
  double vision = 0, language = 0, head = 0;
};
ForwardFlops forward_flops(const configs::Config& config, const model::QwenConfig& model,
                           const MicroBatchShape& shape);

}  // namespace muster::launcher
