#include "trainer/loss_terms.h"

#include <algorithm>

namespace muster::trainer {

LossTerms::LossTerms(const configs::Loss& w) {
  const auto add = [&](const std::string& name, double weight) {
    names_.push_back(name);
    weights_.push_back(weight);
  };
  add("lm", w.lm);
  const std::pair<const char*, double> kinds[] = {{"", 1.0}, {"aux_", w.aux}, {"dn_", w.denoising}};
  for (const auto& [prefix, multiplier] : kinds) {
    add(std::string(prefix) + "box_l1", multiplier * w.box_l1);
    add(std::string(prefix) + "giou", multiplier * w.giou);
    add(std::string(prefix) + "objectness", multiplier * w.objectness);
    add(std::string(prefix) + "caption", multiplier * w.caption);
  }
  TORCH_CHECK(size() == kNumTerms, "LossTerms has ", size(), " terms and says ", kNumTerms);
}

std::int64_t LossTerms::index(const std::string& name) const {
  const auto found = std::find(names_.begin(), names_.end(), name);
  TORCH_CHECK(found != names_.end(),
              "the model returned a loss term the trainer does not know: ", name);
  return found - names_.begin();
}

double LossTerms::scale(std::int64_t i, const Denominators& step) const {
  const std::string& name = names_[i];
  const std::int64_t n = name == "lm"                ? step.tokens
                         : name.ends_with("caption") ? step.caption_tokens
                                                     : step.boxes;
  return 1.0 / static_cast<double>(
                   std::max<std::int64_t>(n, 1));  // a step of empty images still trains objectness
}

at::Tensor LossTerms::weigh(const std::vector<model::LossTerm>& terms,
                            const Denominators& step) const {
  at::Tensor total;
  for (const model::LossTerm& term : terms) {
    const std::int64_t i = index(term.name);
    if (weights_[i] == 0) continue;
    const at::Tensor weighted = term.sum * (weights_[i] * scale(i, step));
    total = total.defined() ? total + weighted : weighted;
  }
  return total;
}

at::Tensor LossTerms::sums(const std::vector<model::LossTerm>& terms) const {
  const at::Device device = terms.empty() ? at::kCPU : terms.front().sum.device();
  const at::Tensor slots = at::zeros({size()}, at::TensorOptions(device).dtype(at::kDouble));
  for (const model::LossTerm& term : terms)
    slots[index(term.name)].copy_(term.sum.detach().reshape({}));
  return slots;
}

LossTerms::Report LossTerms::report(const std::vector<double>& slots,
                                    const Denominators& step) const {
  Report report;
  report.terms.assign(names_.size(), 0.0);
  for (std::size_t k = 0; k < slots.size(); ++k) report.terms[k % names_.size()] += slots[k];
  for (std::int64_t i = 0; i < size(); ++i) {
    report.terms[i] *= scale(i, step);
    report.total += weights_[i] * report.terms[i];
  }
  return report;
}

}  // namespace muster::trainer
