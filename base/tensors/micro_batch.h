// What a loader hands to the model: samples concatenated without padding. The contract between
// data, model and trainer.
#pragma once

#include <ATen/core/Tensor.h>

#include <array>
#include <cstdint>
#include <vector>

namespace muster {

constexpr std::int64_t kIgnoreLabel = -100;

// The objects of one image. Boxes are cx,cy,w,h in [0,1] of the stored image.
struct ImageTargets {
  at::Tensor boxes;  // [objects, 4] f32, CPU
  std::vector<std::vector<std::int64_t>>
      captions;                          // per object: token ids, without any start or end token
  std::vector<std::int64_t> categories;  // per object: active class index 0..K-1
  bool annotated = true;  // false: nobody looked for objects, so there is no detection loss
};

// Integers that a loss is divided by, summed over a whole optimizer step. Known from the sampler's
// plan before the step, so every rank divides by the same numbers whatever samples it holds.
struct Denominators {
  std::int64_t tokens = 0;  // labels the LM loss is taken at
  std::int64_t boxes = 0;
  std::int64_t caption_tokens = 0;  // caption ids plus one end token per object
  bool operator==(const Denominators&) const = default;
  Denominators& operator+=(const Denominators& o) {
    tokens += o.tokens;
    boxes += o.boxes;
    caption_tokens += o.caption_tokens;
    return *this;
  }
};

struct MicroBatch {
  std::int64_t index = -1;               // place in the epoch's global list
  std::vector<std::int64_t> sample_ids;  // pack indices, one per sample
  at::Tensor input_ids;                  // [tokens] i64
  at::Tensor labels;  // [tokens] i64; kIgnoreLabel where no loss. labels[t] is the id AT t (the
                      // model shifts)
  std::vector<std::int64_t> cu_seqlens;  // [samples + 1], 0 .. tokens
  at::Tensor pixel_values;               // [patches, patch_dim] f32; undefined in a text-only batch
  at::Tensor grid_thw;  // [images, 3] i64, in patches; undefined in a text-only batch
  std::vector<std::int64_t> image_samples;  // per image: which sample of this batch it belongs to
  std::vector<ImageTargets> targets;        // per image; empty when only predicting
  std::vector<std::array<std::int64_t, 2>>
      image_sizes;            // per image: stored width, height in pixels
  Denominators denominators;  // this micro-batch's share

  std::int64_t num_samples() const { return static_cast<std::int64_t>(sample_ids.size()); }
  std::int64_t num_images() const { return static_cast<std::int64_t>(image_samples.size()); }
};

}  // namespace muster
