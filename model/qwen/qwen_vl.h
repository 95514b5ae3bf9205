// The Qwen-VL family: vision tower, language model, and the step between them. Parameter names are
// those of the published checkpoints: visual.*, model.*, lm_head.weight.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <vector>

#include "base/tensors/micro_batch.h"
#include "model/files/config.h"
#include "model/qwen/layers.h"
#include "model/qwen/qwen_options.h"

namespace muster::model {

class QwenCore;

class QwenVL {
 public:
  // No parameter wants a gradient until its requires_grad is set (ParamRegistry does). Tensors of a
  // batch may stay on the CPU; the integer ones should, because tables are built from them there.

  // Weights drawn from N(0, initializer_range^2), norms 1, biases 0, each tensor from its own
  // stream of (seed, name): the same on every rank and machine.
  static QwenVL random(const QwenConfig& config, const QwenOptions& options, std::uint64_t seed);
  // With options.lora there are adapters beside the weights, which change nothing yet.
  // Strict: one CheckpointError lists missing, unexpected and mis-shaped tensors together. Either
  // name layout.
  static QwenVL load(const std::filesystem::path& folder, const QwenOptions& options);
  // The same parameters seen in another dtype: computes in `dtype`, gradients flow back to this
  // model's parameters, whose values at this moment it uses. Its own parameters() are no leaves.
  QwenVL cast(at::ScalarType dtype) const;
  ~QwenVL();
  QwenVL(QwenVL&&) noexcept;

  // REQUIRES pixel_values and grid_thw both or neither (error naming both). pixel_values 2-D
  // [patches, dim] or 4-D [N,C,H,W].
  QwenOutput forward(const MicroBatch& batch) const;
  // The pictures alone: `hidden` is undefined. With keep_patches only the patches are made.
  QwenOutput vision(const at::Tensor& pixel_values, const at::Tensor& grid_thw) const;
  at::Tensor logits(const at::Tensor& hidden) const;  // [tokens, vocab]
  // Sum over labels of -log p(label[t] | tokens < t), fp32 scalar; shifts inside each sample, in
  // chunks, so that [tokens, vocab] is never held. Zero (with a graph where possible) when there is
  // no label. `tied`: that of the output whose `hidden` this is, to add gradients of a tied head
  // where they are.
  at::Tensor lm_loss_sum(const at::Tensor& hidden, const MicroBatch& batch,
                         std::shared_ptr<TiedGradient> tied = nullptr) const;

  // The new ids of one prompt, the stop token included. Vision enters once, at pre-fill (law 4); a
  // step then costs one token. step_logits, when given, receives [steps, vocab].
  std::vector<std::int64_t> generate(const MicroBatch& prompt, const GenerateOptions& options,
                                     at::Tensor* step_logits = nullptr) const;

  std::vector<NamedParam> parameters() const;  // forward order; a tied lm_head is not listed twice
  // The parameters of a model without adapters that computes the same: copies where a weight has
  // one (merged_weight), this model's tensors elsewhere.
  std::vector<NamedParam> merged_parameters() const;
  const QwenConfig& config() const;
  const at::Tensor& token_embedding() const;  // [vocab, hidden]
  void set_forward_gate(ForwardGate gate);
  // Until the next call, forward passes drop inputs of adapters as `seed` says; none, as at first:
  // nothing is dropped. Backward drops what its forward pass did.
  void set_dropout(std::optional<std::uint64_t> seed);

 private:
  QwenVL();
  std::unique_ptr<QwenCore> core_;
};

}  // namespace muster::model
