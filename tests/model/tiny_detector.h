// A Detector small enough for tests, and micro-batches for it.
#pragma once

#include <vector>

#include "model/detector.h"

namespace muster::test {

constexpr std::int64_t kImageToken = 3, kVisionStart = 2, kCaptionEnd = 9;

inline model::QwenConfig tiny_qwen() {
  model::QwenConfig config;
  config.model_type = "qwen2_5_vl";
  config.vision = {2, 32, 64, 2, 32, 3, 14, 2, 2, 112, {1}};
  config.text = {64, 32, 64, 2, 2, 1, 16, 1e-6, 1e6, {2, 3, 3}, true};
  config.image_token_id = kImageToken;
  config.vision_start_token_id = kVisionStart;
  config.initializer_range = 0.02;
  return config;
}

inline model::HeadConfig tiny_head() {
  model::HeadConfig config;
  config.num_queries = 6;
  config.hidden_size = 16;
  config.num_layers = 2;
  config.num_heads = 2;
  config.mlp_size = 32;
  config.caption_layers = 1;
  config.caption_max_tokens = 3;
  config.denoising_groups = 2;
  config.denoising_box_noise = 0.4;
  return config;
}

// One sample per image: <vision start> image tokens, then two text tokens with labels.
inline MicroBatch image_batch(const std::vector<std::array<std::int64_t, 2>>& patch_grids,
                              std::uint64_t seed) {
  MicroBatch batch;
  std::vector<std::int64_t> ids, labels, grid;
  std::int64_t patches = 0;
  batch.cu_seqlens = {0};
  for (const auto& [rows, columns] : patch_grids) {
    ids.push_back(kVisionStart);
    ids.insert(ids.end(), rows * columns / 4, kImageToken);
    labels.resize(ids.size(), kIgnoreLabel);
    ids.insert(ids.end(), {20, 21});
    labels.insert(labels.end(), {20, 21});
    grid.insert(grid.end(), {1, rows, columns});
    patches += rows * columns;
    batch.image_samples.push_back(batch.num_samples());
    batch.sample_ids.push_back(batch.num_samples());
    batch.cu_seqlens.push_back(static_cast<std::int64_t>(ids.size()));
    batch.image_sizes.push_back({columns * 14, rows * 14});
    batch.targets.push_back({at::tensor({0.4f, 0.5f, 0.3f, 0.2f}).view({1, 4}), {{11, 12}}, {0}});
  }
  batch.input_ids = at::tensor(ids, at::kLong);
  batch.labels = at::tensor(labels, at::kLong);
  batch.grid_thw = at::tensor(grid, at::kLong).view({-1, 3});
  batch.pixel_values =
      at::sin(at::arange(patches * 1176, at::kFloat) * (0.37 + 0.01 * static_cast<double>(seed)))
          .view({patches, 1176});
  return batch;
}

}  // namespace muster::test
