// The loss's terms: a fixed list, known before any data, so that every rank reports the same slots
// (law 8).
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <string>
#include <vector>

#include "base/tensors/micro_batch.h"
#include "configs/config.h"
#include "model/detector.h"

namespace muster::trainer {

// What the loop has summed over ranks in every step: tokens, images, labels, boxes, caption tokens,
// and ranks that have written their part of a checkpoint.
constexpr std::int64_t kNumStepCounts = 6;

// lm, then {box_l1, giou, objectness, caption} of the last decoder layer, aux_* of the others, dn_*
// of denoising queries.
class LossTerms {
 public:
  static constexpr std::int64_t kNumTerms = 13;

  explicit LossTerms(const configs::Loss& weights);

  std::int64_t size() const { return static_cast<std::int64_t>(names_.size()); }
  const std::string& name(std::int64_t i) const { return names_[i]; }

  // weight_i / denominator_i * sum_i, added up: an fp32 scalar with a graph, or undefined when no
  // term takes part.
  at::Tensor weigh(const std::vector<model::LossTerm>& terms, const Denominators& step) const;
  // The sums, one per slot, 0 where the batch has no such term: [size()] f64 on the terms' device.
  // Nothing waits for it.
  at::Tensor sums(const std::vector<model::LossTerm>& terms) const;

  struct Report {
    double total = 0;
    std::vector<double> terms;  // sum_i / denominator_i, unweighted
  };
  // `slots`: sums() of every micro-batch of the step, concatenated in global order; added in that
  // order, so the numbers do not depend on the world size.
  Report report(const std::vector<double>& slots, const Denominators& step) const;

 private:
  std::int64_t index(const std::string& name) const;
  double scale(std::int64_t i, const Denominators& step) const;  // 1 / denominator

  std::vector<std::string> names_;
  std::vector<double> weights_;
};

}  // namespace muster::trainer
