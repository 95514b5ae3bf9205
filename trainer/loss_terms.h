// The loss's terms: a fixed list, known before any data, so that every rank reports the same slots
// (law 8).
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "base/tensors/micro_batch.h"
#include "configs/config.h"
#include "model/head/detection.h"

namespace muster::trainer {

class LossTerms {
 public:
  using Denominator = model::LossTerm::Denominator;
  struct Entry {
    std::string name;
    double weight = 0;
    Denominator denominator = Denominator::kBoxes;  // as the model gives it to this term
  };

  explicit LossTerms(std::vector<Entry> entries) : entries_(std::move(entries)) {}
  // How many terms a config weighs.
  static constexpr std::int64_t kNumTerms = 17;
  static constexpr std::size_t kLm = 0;  // the place of the language model's term
  // lm, then {box_l1, giou, objectness, caption} of the last decoder layer, aux_* of the others,
  // many_* of tokens that share an object, dn_* of denoising queries.
  // Captions are divided by their tokens, classes of a closed set by the boxes.
  LossTerms(const configs::Loss& weights, configs::Labels labels);

  std::int64_t size() const { return static_cast<std::int64_t>(entries_.size()); }
  const std::string& name(std::int64_t i) const { return entries_[i].name; }

  // weight_i / denominator_i * sum_i, added up: an fp32 scalar with a graph, or undefined when no
  // term takes part. Fails when a term is not in the list, or says another denominator.
  at::Tensor weigh(const std::vector<model::LossTerm>& terms, const Denominators& step) const;
  // The sums, one per slot, 0 where the batch has no such term: [size()] f64 on the terms' device.
  // Nothing waits for it.
  at::Tensor sums(const std::vector<model::LossTerm>& terms) const;

  struct Report {
    double total = 0;
    std::vector<double> terms;  // sum_i / denominator_i, unweighted
  };
  // `slots`: sums() of every micro-batch of the step, concatenated in global order. They are added
  // in that order, so the numbers do not depend on the world size.
  Report report(std::span<const double> slots, const Denominators& step) const;

 private:
  std::int64_t slot_of(const model::LossTerm& term) const;

  std::vector<Entry> entries_;
};

}  // namespace muster::trainer
