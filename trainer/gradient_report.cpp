#include "trainer/gradient_report.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <span>

#include "base/error.h"
#include "base/progress.h"
#include "base/rng.h"
#include "model/qwen/lora.h"
#include "trainer/assembly/groups.h"
#include "trainer/assembly/options.h"
#include "trainer/loss_terms.h"

namespace muster::trainer {
namespace {

double norm_of(const at::Tensor& values) {
  return at::linalg_vector_norm(values, 2, c10::nullopt, false, at::kFloat).item<double>();
}

ParameterGradient gradient_of(const sharding::Param& param, double loss_scale) {
  ParameterGradient result;
  result.name = param.name;
  result.shape = param.tensor.sizes().vec();
  result.weight_norm = norm_of(param.tensor.detach());
  const at::Tensor gradient = param.tensor.grad();
  result.reached = gradient.defined();
  result.behind_zeros = model::is_lora_a(param.name);
  if (!result.reached || gradient.numel() == 0) return result;
  const at::Tensor finite = at::isfinite(gradient);
  result.non_finite = gradient.numel() - finite.sum().item<std::int64_t>();
  const at::Tensor kept =
      result.non_finite == 0 ? gradient : at::where(finite, gradient, at::zeros_like(gradient));
  result.norm = norm_of(kept) / loss_scale;
  result.largest = kept.abs().max().item<double>() / loss_scale;
  return result;
}

bool more_alarming(const ParameterGradient& a, const ParameterGradient& b) {
  if ((a.non_finite > 0) != (b.non_finite > 0)) return a.non_finite > 0;
  return a.ratio() > b.ratio();
}

std::vector<GroupGradients> group_gradients(const configs::Config& config,
                                            const sharding::ParamRegistry& registry,
                                            double loss_scale) {
  const std::vector<double> lrs = group_lrs(config.groups);
  std::vector<GroupGradients> groups;
  for (std::size_t g = 0; g < registry.groups().size(); ++g) {
    const sharding::GroupRule& rule = registry.groups()[g];
    groups.push_back({.name = rule.name, .lr = rule.frozen ? 0 : lrs[g]});
  }
  for (const sharding::Param& param : registry.trainable()) {
    GroupGradients& group = groups[static_cast<std::size_t>(param.group)];
    group.parameters.push_back(gradient_of(param, loss_scale));
    group.norm = std::hypot(group.norm, group.parameters.back().norm);
    group.weight_norm = std::hypot(group.weight_norm, group.parameters.back().weight_norm);
  }
  for (GroupGradients& group : groups) std::ranges::stable_sort(group.parameters, more_alarming);
  return groups;
}

// Fills in the loss of `report`, and leaves a gradient on every parameter it reaches.
void forward_and_backward(const configs::Config& config, const model::Detector& detector,
                          const MicroBatch& batch, std::int64_t number, GradientReport& report) {
  Progress progress("forward and backward", 2);
  const LossTerms terms(config.loss, config.detection.labels);
  const std::uint64_t noise = seed_of(config.run.seed, number);
  const auto sums = detector.loss(batch, head_loss_options(config), noise);
  const at::Tensor total = terms.weigh(sums, batch.denominators);
  if (!total.defined()) {
    throw DataError(
        "the micro-batch has no loss term with a weight: its samples have no picture, and "
        "loss.lm is 0");
  }
  const at::Tensor slots = terms.sums(sums).cpu();  // [terms] f64
  const std::span<const double> values(slots.const_data_ptr<double>(),
                                       static_cast<std::size_t>(slots.numel()));
  const LossTerms::Report loss = terms.report(values, batch.denominators);
  report.loss = loss.total;
  for (std::int64_t i = 0; i < terms.size(); ++i)
    report.terms.emplace_back(terms.name(i), loss.terms[static_cast<std::size_t>(i)]);
  progress.add();
  (total * report.loss_scale).backward();
  progress.add();
}

}  // namespace

double ParameterGradient::ratio() const {
  if (norm == 0) return 0;
  return weight_norm > 0 ? norm / weight_norm : std::numeric_limits<double>::infinity();
}

GradientReport report_gradients(const configs::Config& config, model::Detector& detector,
                                const MicroBatch& batch, const GradientOptions& options) {
  GradientReport report;
  if (config.model.dtype == configs::Dtype::kFp16)
    report.loss_scale = config.optimizer.loss_scale_initial;
  detector.set_training(true);
  const sharding::ParamRegistry registry = register_parameters(config, detector);
  std::optional<AnomalyWatch> watch;
  if (options.watched) {
    watch.emplace();
    detector.set_forward_gate([&watch](std::string_view block) { watch->enter(block); });
  }
  forward_and_backward(config, detector, batch, options.number, report);
  if (watch) {
    report.anomaly = watch->first();
    detector.set_forward_gate({});
    watch.reset();
  }
  report.groups = group_gradients(config, registry, report.loss_scale);
  for (const GroupGradients& group : report.groups) {
    report.norm = std::hypot(report.norm, group.norm);
    for (const ParameterGradient& parameter : group.parameters)
      report.non_finite += parameter.non_finite;
  }
  // Memory that nobody has written yet may look like a NaN; a finite batch has made none.
  if (report.non_finite == 0 && std::isfinite(report.loss)) report.anomaly.reset();
  return report;
}

}  // namespace muster::trainer
