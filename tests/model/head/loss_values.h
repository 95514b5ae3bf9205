// What the tests of losses share.
#pragma once

#include <map>
#include <span>
#include <string>
#include <vector>

#include "base/rng.h"
#include "model/detector.h"
#include "model/head/detection_losses.h"

namespace muster::test {

// Focal loss as published (alpha 0.25, gamma 2), DETR's matching weights (L1 5, GIoU 2, class 2),
// captions as given.
constexpr model::HeadLossOptions loss_options(double match_caption) {
  return {0.25, 2, 5, 2, 2, match_caption};
}

// A head that a test can look at as a whole.
inline model::HeadConfig one_layer_head() {
  model::HeadConfig config;
  config.num_queries = 5;
  config.hidden_size = 16;
  config.num_layers = 1;
  config.num_heads = 2;
  config.mlp_size = 32;
  config.caption_layers = 1;
  config.caption_max_tokens = 4;
  return config;
}

// The terms of flat predictions.
inline std::vector<model::LossTerm> terms_of(const model::Predictions& predictions,
                                             std::span<const model::PredictionSet> sets,
                                             std::span<const ImageTargets> targets,
                                             const model::HeadLossOptions& options) {
  std::vector<std::int64_t> rows;
  for (const model::PredictionSet& set : sets)
    for (const model::Match& match : set.matches) rows.push_back(match.row);
  return model::box_terms(predictions.boxes.index_select(0, at::tensor(rows, at::kLong)),
                          predictions.logits, sets, targets, options);
}

inline std::map<std::string, double> values(const std::vector<model::LossTerm>& terms) {
  std::map<std::string, double> result;
  for (const model::LossTerm& term : terms) result[term.name] = term.sum.item<double>();
  return result;
}

inline at::Tensor noise(std::uint64_t seed, at::IntArrayRef shape) {
  Rng rng(seed);
  at::Tensor x = at::empty(shape);
  for (std::int64_t i = 0; i < x.numel(); ++i)
    x.mutable_data_ptr<float>()[i] = static_cast<float>(rng.normal());
  return x;
}

}  // namespace muster::test
