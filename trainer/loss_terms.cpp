#include "trainer/loss_terms.h"

#include <algorithm>

namespace muster::trainer {
namespace {

// 1 / the step's count of what the term sums over. A step of empty images has no box and still
// trains objectness.
double scale(LossTerms::Denominator denominator, const Denominators& step) {
  const auto one_over = [](std::int64_t count) {
    return 1.0 / static_cast<double>(std::max<std::int64_t>(count, 1));
  };
  switch (denominator) {
    case LossTerms::Denominator::kTokens: return one_over(step.tokens);
    case LossTerms::Denominator::kBoxes: return one_over(step.boxes);
    case LossTerms::Denominator::kCaptionTokens: return one_over(step.caption_tokens);
  }
  return 0;
}

}  // namespace

LossTerms::LossTerms(const configs::Loss& w, configs::Labels labels) {
  const Denominator captions =
      labels == configs::Labels::kClosed ? Denominator::kBoxes : Denominator::kCaptionTokens;
  entries_.push_back({"lm", w.lm, Denominator::kTokens});
  const std::pair<std::string, double> kinds[] = {
      {"", 1.0}, {"aux_", w.aux}, {"many_", w.one_to_many}, {"dn_", w.denoising}};
  for (const auto& [prefix, multiplier] : kinds) {
    entries_.push_back({prefix + "box_l1", multiplier * w.box_l1, Denominator::kBoxes});
    entries_.push_back({prefix + "giou", multiplier * w.giou, Denominator::kBoxes});
    entries_.push_back({prefix + "objectness", multiplier * w.objectness, Denominator::kBoxes});
    entries_.push_back({prefix + "caption", multiplier * w.caption, captions});
  }
  TORCH_CHECK(size() == kNumTerms, "LossTerms has ", size(), " terms and says ", kNumTerms);
}

std::int64_t LossTerms::slot_of(const model::LossTerm& term) const {
  const auto found = std::ranges::find(entries_, term.name, &Entry::name);
  TORCH_CHECK(found != entries_.end(),
              "the model returned a loss term the trainer does not know: ", term.name);
  TORCH_CHECK(found->denominator == term.denominator,
              "the model and the trainer divide this loss term by different counts: ", term.name);
  return found - entries_.begin();
}

at::Tensor LossTerms::weigh(const std::vector<model::LossTerm>& terms,
                            const Denominators& step) const {
  at::Tensor total;
  for (const model::LossTerm& term : terms) {
    const double weight = entries_[slot_of(term)].weight;
    if (weight == 0) continue;
    const at::Tensor weighted = term.sum * (weight * scale(term.denominator, step));
    total = total.defined() ? total + weighted : weighted;
  }
  return total;
}

at::Tensor LossTerms::sums(const std::vector<model::LossTerm>& terms) const {
  const at::Device device = terms.empty() ? at::kCPU : terms.front().sum.device();
  const at::Tensor slots = at::zeros({size()}, at::TensorOptions(device).dtype(at::kDouble));
  for (const model::LossTerm& term : terms) {
    slots[slot_of(term)].copy_(term.sum.detach().reshape({}));
  }
  return slots;
}

LossTerms::Report LossTerms::report(std::span<const double> slots, const Denominators& step) const {
  Report report;
  report.terms.assign(entries_.size(), 0.0);
  for (std::size_t k = 0; k < slots.size(); ++k) report.terms[k % entries_.size()] += slots[k];
  for (std::size_t i = 0; i < entries_.size(); ++i) {
    report.terms[i] *= scale(entries_[i].denominator, step);
    report.total += entries_[i].weight * report.terms[i];
  }
  return report;
}

}  // namespace muster::trainer
