// Denoising queries (DN-DETR, Li et al., CVPR 2022): true boxes with noise, whose right answer is
// known without matching, so the decoder learns to refine boxes from the first step.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <span>
#include <vector>

#include "base/tensors/micro_batch.h"
#include "model/head/boxes.h"
#include "model/head/detection_losses.h"

namespace muster::model {

// `groups` copies of every object's box. Slot g * objects_per_group + o of an image holds object o
// of group g; slots of objects an image lacks are padding.
struct DenoisingQueries {
  std::int64_t groups = 0, objects_per_group = 0;
  at::Tensor boxes;            // [images, slots, 4] f32, CPU, cx,cy,w,h inside the image
  std::vector<char> padding;   // [images * slots]
  std::vector<Match> matches;  // rows count from 0: image * slots + slot
  std::int64_t slots() const { return groups * objects_per_group; }
};

// Every edge of a box moves by up to `noise` of half its size; a pure function of (seed, image,
// object, group).
Box noised_box(const Box& box, double noise, std::uint64_t seed, std::int64_t image,
               std::int64_t object, std::int64_t group);

DenoisingQueries make_denoising(std::span<const ImageTargets> targets, std::int64_t groups,
                                double noise, std::uint64_t seed);

// Which query may look at which, for `queries` matching queries (of which counts[image] are real)
// and then the denoising slots: matching queries never see slots, a group never sees another,
// nobody sees padding. Additive, 0 or -inf, [images, 1, queries + slots, queries + slots] f32 on
// the CPU; undefined when everybody may see everybody.
at::Tensor self_attention_mask(std::int64_t queries, std::span<const std::int64_t> counts,
                               const DenoisingQueries& denoising);

}  // namespace muster::model
