// What a QwenVL is made with, and what it returns.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <vector>

#include "model/qwen/embedding.h"
#include "model/qwen/lora.h"
#include "model/qwen/sampling.h"

namespace muster::model {

struct QwenOptions {
  // Weights and activations have it; norms, the vision tower's rope and the loss compute in fp32.
  at::ScalarType dtype = at::kFloat;
  at::Device device = at::kCPU;
  bool checkpoint_vision = false, checkpoint_language = false;
  std::int64_t logits_chunk_tokens = 1024;
  bool keep_patches = false;                       // what QwenOutput::image_patches needs
  std::optional<LoraOptions> lora = std::nullopt;  // adapters beside layers of these weights
};

struct QwenOutput {
  at::Tensor image_embeds;  // [merged tokens, hidden], in image order; undefined without images
  at::Tensor hidden;        // [tokens, hidden], after the final norm
  // [patches, vision hidden] before merging, row by row of each image; only with keep_patches.
  at::Tensor image_patches = {};
  // Per level [merged tokens, hidden], where the family has them.
  std::vector<at::Tensor> deepstack = {};
  // For lm_loss_sum() of this `hidden`; null unless the head is tied, trained and on the CPU.
  std::shared_ptr<TiedGradient> tied = nullptr;
};

struct GenerateOptions {
  std::int64_t max_new_tokens = 0;
  std::vector<std::int64_t> stop = {};  // ends after one of these
  Sampling sampling = {};
  // Called with each new id as soon as it is known.
  std::function<void(std::int64_t id)> on_token = {};
  // Ends where it says true of the ids so far, after `on_token`.
  std::function<bool(const std::vector<std::int64_t>& ids)> stop_when = {};
};

}  // namespace muster::model
