#include "model/head/detection_losses.h"

#include <algorithm>
#include <cmath>

#include "model/head/boxes.h"
#include "model/head/matcher.h"
#include "model/qwen/upload.h"

namespace muster::model {
namespace {

// The part of a matching cost that no object changes, weighed: what focal loss charges for a missed
// object less what it charges for a false one; the 1e-8 is DINO's.
float objectness_cost(float logit, const HeadLossOptions& options) {
  const double p = 1 / (1 + std::exp(-static_cast<double>(logit)));
  const double miss =
      options.focal_alpha * std::pow(1 - p, options.focal_gamma) * -std::log(p + 1e-8);
  const double alarm =
      (1 - options.focal_alpha) * std::pow(p, options.focal_gamma) * -std::log(1 - p + 1e-8);
  return static_cast<float>(options.match_objectness) * static_cast<float>(miss - alarm);
}

// The part that compares a prediction with an object, weighed.
float box_cost(const Box& predicted, const Box& truth, const HeadLossOptions& options) {
  return static_cast<float>(options.match_l1) * l1_distance(predicted, truth) -
         static_cast<float>(options.match_giou) *
             giou(cxcywh_to_xyxy(predicted), cxcywh_to_xyxy(truth));
}

Box box_at(const float* boxes, std::int64_t row) {
  return {boxes[4 * row], boxes[4 * row + 1], boxes[4 * row + 2], boxes[4 * row + 3]};
}

bool all_finite(const std::vector<float>& values) {
  return std::all_of(values.begin(), values.end(), [](float x) { return std::isfinite(x); });
}

// What each prediction of one image costs whatever the object: its logarithms and powers are worth
// computing once instead of for every object.
std::vector<float> objectness_costs(const Predictions& cpu, const PredictionSet& set,
                                    std::int64_t image, const HeadLossOptions& options) {
  const float* logits =
      cpu.logits.const_data_ptr<float>() + set.first + image * set.width;  // of the image
  std::vector<float> costs;
  for (std::int64_t query = 0; query < set.counts[image]; ++query)
    costs.push_back(objectness_cost(logits[query], options));
  return costs;
}

// Returns [objects, predictions] of one image.
std::vector<float> cost_matrix(const Predictions& cpu, const PredictionSet& set, std::int64_t image,
                               const ImageTargets& target, const HeadLossOptions& options,
                               const at::Tensor& caption_cost) {
  const float* boxes = cpu.boxes.const_data_ptr<float>();
  const float* truths = target.boxes.const_data_ptr<float>();
  const std::int64_t objects = target.boxes.size(0);
  std::vector<float> cost;
  if (objects == 0) return cost;
  const std::vector<float> of_query = objectness_costs(cpu, set, image, options);
  cost.reserve(static_cast<std::size_t>(objects * set.counts[image]));
  for (std::int64_t object = 0; object < objects; ++object) {
    for (std::int64_t query = 0; query < set.counts[image]; ++query) {
      const std::int64_t row = set.first + image * set.width + query;
      float entry = box_cost(box_at(boxes, row), box_at(truths, object), options) + of_query[query];
      if (caption_cost.defined()) {
        entry += static_cast<float>(options.match_caption) *
                 caption_cost.const_data_ptr<
                     float>()[(image * set.width + query) * caption_cost.size(2) + object];
      }
      cost.push_back(entry);
    }
  }
  return cost;
}

std::vector<float> transposed(const std::vector<float>& cost, std::int64_t rows,
                              std::int64_t columns) {
  std::vector<float> result(cost.size());
  for (std::int64_t r = 0; r < rows; ++r) {
    for (std::int64_t c = 0; c < columns; ++c) result[c * rows + r] = cost[r * columns + c];
  }
  return result;
}

// Returns pairs of object and query, in order of the objects.
std::vector<std::pair<std::int64_t, std::int64_t>> best_pairs(const std::vector<float>& cost,
                                                              std::int64_t objects,
                                                              std::int64_t queries) {
  std::vector<std::pair<std::int64_t, std::int64_t>> pairs;
  if (!all_finite(cost)) {
    for (std::int64_t i = 0; i < std::min(objects, queries); ++i) pairs.emplace_back(i, i);
  } else if (objects <= queries) {
    const std::vector<std::int64_t> query_of = assign(cost, objects, queries);
    for (std::int64_t object = 0; object < objects; ++object)
      pairs.emplace_back(object, query_of[object]);
  } else {
    const std::vector<std::int64_t> object_of =
        assign(transposed(cost, objects, queries), queries, objects);
    for (std::int64_t query = 0; query < queries; ++query)
      pairs.emplace_back(object_of[query], query);
    std::sort(pairs.begin(), pairs.end());
  }
  return pairs;
}

// Rows that count weigh 1 and padding 0; undefined when every row counts.
at::Tensor row_weights(std::span<const PredictionSet> sets, std::int64_t rows) {
  std::vector<float> weights(rows, 1);
  for (const PredictionSet& set : sets) {
    for (std::size_t image = 0; image < set.counts.size(); ++image) {
      const std::int64_t first = set.first + static_cast<std::int64_t>(image) * set.width;
      std::fill(weights.begin() + first + set.counts[image], weights.begin() + first + set.width,
                0.0f);
    }
    for (std::size_t row = 0; row < set.padding.size(); ++row) {
      if (set.padding[row]) weights[set.first + row] = 0;
    }
  }
  if (std::find(weights.begin(), weights.end(), 0.0f) == weights.end()) return {};
  return at::tensor(weights);
}

// Matched rows of every set, with the boxes they should have.
struct Matched {
  at::Tensor rows;     // [matches] i64
  at::Tensor truths;   // [matches, 4] f32
  at::Tensor weights;  // [matches] f32
};

Matched gather_matches(std::span<const PredictionSet> sets, std::span<const ImageTargets> targets,
                       const at::Tensor& like) {
  std::vector<std::int64_t> rows;
  std::vector<float> truths;
  std::vector<float> weights;
  for (const PredictionSet& set : sets) {
    for (const Match& match : set.matches) {
      weights.push_back(match.weight);
      const Box box = box_at(targets[match.image].boxes.const_data_ptr<float>(), match.object);
      rows.push_back(match.row);
      truths.insert(truths.end(), box.begin(), box.end());
    }
  }
  const auto count = static_cast<std::int64_t>(rows.size());
  return {upload(rows, like.device()),
          upload(at::tensor(truths, at::kFloat).view({count, 4}), like.device()),
          upload(at::tensor(weights, at::kFloat), like.device())};
}

// [rows] bool: those of sets that share their objects.
at::Tensor shared_rows(std::span<const PredictionSet> sets, const at::Tensor& logits) {
  const std::int64_t rows = logits.size(0);
  const at::Tensor shared = at::zeros({rows}, at::kBool);
  bool* is_shared = shared.mutable_data_ptr<bool>();
  for (std::size_t i = 0; i < sets.size(); ++i) {
    const std::int64_t end = i + 1 < sets.size() ? sets[i + 1].first : rows;
    std::fill(is_shared + sets[i].first, is_shared + end, sets[i].shared);
  }
  return upload(shared, logits.device());
}

// [rows]: what each prediction's objectness is charged. It learns a quality where objects are
// shared, and everywhere with objectness_is_iou; elsewhere whether there is an object.
at::Tensor objectness_loss(const at::Tensor& logits, std::span<const PredictionSet> sets,
                           const Matched& matched, const at::Tensor& iou,
                           const HeadLossOptions& options) {
  const bool any_shared = std::ranges::any_of(sets, &PredictionSet::shared);
  at::Tensor plain;  // undefined where no row learns it
  if (!options.objectness_is_iou) {
    const at::Tensor found = at::zeros_like(logits).index_fill(0, matched.rows, 1);
    plain = focal_loss(logits, found, options.focal_alpha, options.focal_gamma);
  }
  if (!any_shared && plain.defined()) return plain;
  const at::Tensor shared = any_shared ? shared_rows(sets, logits) : at::Tensor();
  // A shared object's weight is its quality; another match has weight 1, and its IoU.
  const at::Tensor quality_of_match =
      any_shared ? at::where(shared.index_select(0, matched.rows), matched.weights, iou) : iou;
  const at::Tensor quality = at::zeros_like(logits).index_copy(0, matched.rows, quality_of_match);
  const at::Tensor learned =
      varifocal_loss(logits, quality, options.focal_alpha, options.focal_gamma);
  return plain.defined() ? at::where(shared, learned, plain) : learned;
}

}  // namespace

float match_cost(const Box& predicted, float logit, const Box& truth,
                 const HeadLossOptions& options) {
  return box_cost(predicted, truth, options) + objectness_cost(logit, options);
}

std::vector<Match> match_set(const Predictions& cpu, const PredictionSet& set,
                             std::span<const ImageTargets> targets, const HeadLossOptions& options,
                             const at::Tensor& caption_cost) {
  std::vector<Match> matches;
  for (std::size_t i = 0; i < targets.size(); ++i) {
    const auto image = static_cast<std::int64_t>(i);
    const std::vector<float> cost = cost_matrix(cpu, set, image, targets[i], options, caption_cost);
    for (const auto& [object, query] : best_pairs(cost, targets[i].boxes.size(0), set.counts[i])) {
      matches.push_back({set.first + image * set.width + query, image, object});
    }
  }
  return matches;
}

at::Tensor focal_loss(const at::Tensor& logits, const at::Tensor& targets, double alpha,
                      double gamma) {
  const at::Tensor sign = 2 * targets - 1;                  // of the right answer
  const at::Tensor log_p = at::log_sigmoid(logits * sign);  // log of the right answer's probability
  const at::Tensor wrong = at::sigmoid(logits * -sign);
  const at::Tensor weight = targets * alpha + (1 - targets) * (1 - alpha);
  return weight * at::pow(wrong, gamma) * -log_p;
}

at::Tensor varifocal_loss(const at::Tensor& logits, const at::Tensor& quality, double alpha,
                          double gamma) {
  const at::Tensor negative = (1 - alpha) * at::pow(at::sigmoid(logits).detach(), gamma);
  const at::Tensor weight = at::where(quality > 0, quality, negative);
  return weight *
         at::binary_cross_entropy_with_logits(logits, quality, {}, {}, at::Reduction::None);
}

std::vector<LossTerm> box_terms(const at::Tensor& matched_boxes, const at::Tensor& logits,
                                std::span<const PredictionSet> sets,
                                std::span<const ImageTargets> targets,
                                const HeadLossOptions& options) {
  const Matched matched = gather_matches(sets, targets, logits);
  const at::Tensor corners = cxcywh_to_xyxy(matched_boxes);
  const at::Tensor true_corners = cxcywh_to_xyxy(matched.truths);
  const at::Tensor l1 =
      (matched_boxes - matched.truths).abs().sum(1) * matched.weights;  // [matches]
  const PairedOverlaps overlaps = paired_overlaps(corners, true_corners);
  const at::Tensor gap = (1 - overlaps.giou) * matched.weights;  // [matches]
  at::Tensor objectness =
      objectness_loss(logits, sets, matched, overlaps.iou.detach(), options);  // [rows]
  const at::Tensor weights = row_weights(sets, logits.size(0));
  if (weights.defined()) objectness = objectness * upload(weights, objectness.device());

  std::vector<LossTerm> terms;
  std::int64_t match = 0;
  for (std::size_t i = 0; i < sets.size();) {
    const std::string& prefix = sets[i].prefix;
    const std::int64_t first_row = sets[i].first, first_match = match;
    std::int64_t rows = 0;
    for (; i < sets.size() && sets[i].prefix == prefix; ++i) {
      rows += sets[i].width * static_cast<std::int64_t>(targets.size());
      match += static_cast<std::int64_t>(sets[i].matches.size());
    }
    const auto count = match - first_match;
    terms.push_back({prefix + "box_l1", l1.narrow(0, first_match, count).sum()});
    terms.push_back({prefix + "giou", gap.narrow(0, first_match, count).sum()});
    terms.push_back({prefix + "objectness", objectness.narrow(0, first_row, rows).sum()});
  }
  return terms;
}

}  // namespace muster::model
