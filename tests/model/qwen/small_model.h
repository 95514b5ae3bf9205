// A tiny model and batches for it, made from seeds.
#pragma once

#include "base/tensors/micro_batch.h"
#include "model/qwen/qwen_vl.h"

namespace muster::test {

constexpr std::int64_t kSmallImageToken = 50, kSmallVisionStart = 51, kSmallVisionEnd = 52;

inline model::QwenConfig small_config(bool tied = true) {
  model::QwenConfig c{};
  c.model_type = "qwen2_5_vl";
  c.vision = {.depth = 3,
              .hidden_size = 32,
              .intermediate_size = 48,
              .num_heads = 2,
              .out_hidden_size = 32,
              .in_channels = 3,
              .patch_size = 14,
              .temporal_patch_size = 2,
              .spatial_merge_size = 2,
              .window_size = 112,
              .full_attention_blocks = {1}};
  c.text = {.vocab_size = 64,
            .hidden_size = 32,
            .intermediate_size = 40,
            .num_layers = 2,
            .num_heads = 4,
            .num_kv_heads = 2,
            .head_dim = 8,
            .rms_norm_eps = 1e-6,
            .rope_theta = 1e6,
            .mrope_section = {1, 1, 2},
            .tie_word_embeddings = tied};
  c.image_token_id = kSmallImageToken;
  c.vision_start_token_id = kSmallVisionStart;
  c.initializer_range = 0.1;
  return c;
}

// The same sizes as another member of the family.
inline model::QwenConfig small_family(const std::string& model_type, bool tied = true) {
  model::QwenConfig c = small_config(tied);
  c.model_type = model_type;
  if (model_type == "qwen2_5_vl") return c;
  c.vision.window_size = 0;
  c.vision.full_attention_blocks = {};
  if (model_type == "qwen2_vl") return c;
  c.vision.patch_size = 16;
  c.vision.num_positions = 36;
  c.vision.deepstack_blocks = {0, 2};
  c.text.mrope_section = {2, 1, 1};
  c.text.num_layers = 3;  // DeepStack's last level must reach a layer to be seen by text
  return c;
}

// Samples of random text, each with the given images (patch rows x columns) in front. Every text
// token is a label.
using ImageSizes = std::vector<std::pair<std::int64_t, std::int64_t>>;
inline MicroBatch small_batch(const std::vector<ImageSizes>& samples, std::int64_t text_tokens,
                              std::uint64_t seed = 0, std::int64_t patch_dim = 1176) {
  at::manual_seed(seed);
  MicroBatch batch;
  std::vector<std::int64_t> ids, labels, grid;
  std::vector<at::Tensor> pixels;
  batch.cu_seqlens = {0};
  for (std::size_t s = 0; s < samples.size(); ++s) {
    for (const auto& [rows, columns] : samples[s]) {
      ids.push_back(kSmallVisionStart);
      ids.insert(ids.end(), rows * columns / 4, kSmallImageToken);
      ids.push_back(kSmallVisionEnd);
      grid.insert(grid.end(), {1, rows, columns});
      pixels.push_back(at::randn({rows * columns, patch_dim}));
      batch.image_samples.push_back(static_cast<std::int64_t>(s));
    }
    labels.resize(ids.size(), kIgnoreLabel);
    const at::Tensor text = at::randint(0, 50, {text_tokens}, at::kLong);
    for (std::int64_t i = 0; i < text_tokens; ++i) {
      ids.push_back(text[i].item<std::int64_t>());
      labels.push_back(ids.back());
    }
    batch.cu_seqlens.push_back(static_cast<std::int64_t>(ids.size()));
    batch.sample_ids.push_back(static_cast<std::int64_t>(s));
  }
  batch.input_ids = at::tensor(ids, at::kLong);
  batch.labels = at::tensor(labels, at::kLong);
  if (!pixels.empty()) {
    batch.pixel_values = at::cat(pixels);
    batch.grid_thw = at::tensor(grid, at::kLong).view({-1, 3});
  }
  return batch;
}

inline void train_all(const model::QwenVL& qwen) {
  for (const auto& p : qwen.parameters()) p.tensor.requires_grad_();
}

// Every parameter's gradient of the summed loss; undefined where there is none. The parameters' own
// are dropped.
inline std::vector<at::Tensor> gradients(const model::QwenVL& qwen, const MicroBatch& batch) {
  qwen.lm_loss_sum(qwen.forward(batch).hidden, batch).backward();
  std::vector<at::Tensor> grads;
  for (const auto& p : qwen.parameters()) {
    grads.push_back(p.tensor.grad());
    at::Tensor(p.tensor).mutable_grad().reset();
  }
  return grads;
}

}  // namespace muster::test
