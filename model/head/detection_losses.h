// Matching and losses over a flat list of predictions. Everything here is fp32; losses are sums.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "base/tensors/micro_batch.h"
#include "model/head/boxes.h"
#include "model/head/detection.h"

namespace muster::model {

// Predictions of all sets one after another. A set (a decoder layer's queries, the proposals) holds
// `width` rows per image.
struct Predictions {
  at::Tensor boxes;   // [rows, 4] cx,cy,w,h in [0,1]
  at::Tensor logits;  // [rows] objectness
};

struct Match {
  std::int64_t row, image, object;  // row: of the flat predictions
  float weight = 1;  // of its terms, in [0, 1]; below 1 where several share an object
  bool operator==(const Match&) const = default;
};

// A set and what it is compared with. Sets of one prefix stand together and become one group of
// terms.
struct PredictionSet {
  std::string prefix;                 // "aux_", "" or "dn_"
  std::int64_t first = 0, width = 0;  // first row, rows per image
  std::vector<std::int64_t> counts;   // rows per image that are not padding: the first ones
  // Says per row what is padding, instead of counts, where it lies between; empty otherwise.
  std::vector<char> padding;
  std::vector<Match> matches;
  // Objectness learns the matches' weights, by the varifocal loss, instead of 1.
  bool shared = false;
};

// Cost of giving an object to a prediction, as DETR and DINO: L1, -GIoU, and what focal loss would
// save.
float match_cost(const Box& predicted, float logit, const Box& truth,
                 const HeadLossOptions& options);

// The optimal matches of one set. `boxes` and `logits` are the flat predictions on the CPU;
// `caption_cost`, when defined, is [images, width, >= objects] and is weighed by
// options.match_caption. Objects beyond the number of predictions stay unmatched. Where a
// prediction is not finite, objects are matched in order: the loss then is not finite either, and
// the step's consensus finds the culprit (law 10).
std::vector<Match> match_set(const Predictions& cpu, const PredictionSet& set,
                             std::span<const ImageTargets> targets, const HeadLossOptions& options,
                             const at::Tensor& caption_cost);

// Sigmoid focal loss (Lin et al., ICCV 2017) per element; targets in {0, 1}.
at::Tensor focal_loss(const at::Tensor& logits, const at::Tensor& targets, double alpha,
                      double gamma);

// Varifocal loss (Zhang et al., CVPR 2021) per element: cross-entropy towards a quality q in [0,
// 1], weighed by q where there is an object, elsewhere (q = 0) by (1 - alpha) * p^gamma.
at::Tensor varifocal_loss(const at::Tensor& logits, const at::Tensor& quality, double alpha,
                          double gamma);

// <prefix>box_l1, <prefix>giou, <prefix>objectness for each prefix. matched_boxes [matches, 4]: of
// each set's matches in turn; logits [rows].
std::vector<LossTerm> box_terms(const at::Tensor& matched_boxes, const at::Tensor& logits,
                                std::span<const PredictionSet> sets,
                                std::span<const ImageTargets> targets,
                                const HeadLossOptions& options);

}  // namespace muster::model
