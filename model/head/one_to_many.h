// Which tokens learn of which object where several may: the task-aligned assignment of TOOD (Feng
// et al., ICCV 2021) as YOLOv8 has it, beside the one-to-one matching of queries (H-DETR, Jia et
// al., CVPR 2023). It makes features learn from many places from the first step.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <span>
#include <vector>

#include "base/tensors/micro_batch.h"
#include "model/head/detection_losses.h"

namespace muster::model {

// `per_object` tokens of each object, those that agree with it most: sqrt(objectness) * IoU^4. They
// lie in the object's box, or nearest to its centre; a token of several objects goes to the one it
// overlaps most, ties to the earlier. A match's weight is the token's agreement, scaled so that an
// object's best token has its IoU. `centres` [images, width, 2] f32, CPU, of all tokens. Objects of
// predictions that are not finite get none: the one-to-one terms are not finite either (law 10).
std::vector<Match> match_many(const Predictions& cpu, const PredictionSet& set,
                              std::span<const ImageTargets> targets, const at::Tensor& centres,
                              std::int64_t per_object);

}  // namespace muster::model
