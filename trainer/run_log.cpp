#include "trainer/run_log.h"

#include <fmt/core.h>

#include <algorithm>
#include <functional>
#include <limits>

#include "base/error.h"
#include "base/files.h"
#include "base/log.h"
#include "base/process/atomic_file.h"
#include "base/text.h"
#include "configs/language_use.h"
#include "trainer/show/adapter_facts.h"
#include "trainer/show/metric_names.h"
#include "trainer/show/progress_line.h"

namespace muster::trainer {
namespace {

double tokens_per_second(const StepStats& stats) {
  return static_cast<double>(stats.agreed.tokens) / stats.seconds();
}

void append(MetricsRow& row, std::string_view name, double value) {
  row.emplace_back(std::string(name), value);
}
void append(MetricsRow& row, std::string_view name, std::int64_t value) {
  append(row, name, static_cast<double>(value));
}

void append_phases(MetricsRow& row, const StepTimer::Seconds& t) {
  using metric::kPhaseSeconds, metric::name;
  append(row, name(kPhaseSeconds, metric::kData), t.data);
  append(row, name(kPhaseSeconds, metric::kForward), t.forward);
  append(row, name(kPhaseSeconds, metric::kBackward), t.backward);
  append(row, name(kPhaseSeconds, metric::kCommunication), t.communication);
  append(row, name(kPhaseSeconds, metric::kOptimizer), t.optimizer);
  append(row, name(kPhaseSeconds, metric::kCheckpoint), t.checkpoint);
}

void append_engine_memory(MetricsRow& row, const StepStats& stats) {
  using metric::kMemory, metric::name;
  const sharding::TransientBytes& peaks = stats.engine_peaks;
  append(row, name(kMemory, "engine"), stats.engine_bytes);
  append(row, name(kMemory, "staging"), peaks.staging);
  append(row, name(kMemory, "receive"), peaks.receive);
  append(row, name(kMemory, "gradient"), peaks.gradient);
  append(row, name(kMemory, "consensus"), peaks.consensus);
  append(row, name(kMemory, "snapshot"), peaks.snapshot);
}

// TensorBoard would draw -1 as a point.
MetricsRow measured_only(MetricsRow row) {
  std::erase_if(row, [](const auto& entry) {
    return entry.first.starts_with(metric::kEval) && !measured(entry.second);
  });
  return row;
}

void warn_of_slow_loader(const StepStats& stats) {
  constexpr double kLoaderShare = 0.3;  // of a step; beyond it, more loader threads pay
  if (stats.phases.data <= kLoaderShare * stats.seconds()) return;
  log::warn(
      "the loader is the bottleneck: {:.0f} % of the step waited for data; raise "
      "data.loader_threads",
      100 * stats.phases.data / stats.seconds());
}

std::int64_t elements_of(const std::vector<sharding::Param>& params) {
  std::int64_t elements = 0;
  for (const sharding::Param& param : params) elements += param.tensor.numel();
  return elements;
}

// A group's targets stand with its name, but for the language model's, which everybody means.
AdapterFacts adapter_facts(const configs::Lora& lora, const sharding::ParamRegistry& registry) {
  AdapterFacts facts;
  facts.rank = lora.rank;
  facts.alpha = lora.alpha;
  facts.kind = lora.rslora ? "rsLoRA" : "LoRA";
  if (lora.dora) facts.kind = lora.rslora ? "DoRA with rsLoRA" : "DoRA";
  facts.targets = lora.targets.model;
  for (const std::string& target : lora.targets.merger)
    facts.targets.push_back("merger: " + target);
  for (const std::string& target : lora.targets.visual)
    facts.targets.push_back("visual: " + target);
  facts.trained = elements_of(registry.trainable());
  facts.total = facts.trained + elements_of(registry.frozen());
  return facts;
}

// Elements of weights whose products the forward sum has: not the head's, and not those of a
// language model that rests.
std::int64_t elements_that_run(const std::vector<sharding::Param>& params,
                               const sharding::ParamRegistry& registry, bool tower_alone) {
  std::int64_t elements = 0;
  for (const sharding::Param& param : params) {
    const std::string& group = registry.groups()[static_cast<std::size_t>(param.group)].name;
    if (group == "detection_head" || (tower_alone && group != "visual")) continue;
    elements += param.tensor.numel();
  }
  return elements;
}

// Operations of a training step over those of its forward pass (docs/flops.md): backward makes a
// gradient of every activation, and one of every weight that learns.
double step_flops(const sharding::ParamRegistry& registry, const configs::Config& config) {
  const bool tower_alone = config.data.answer == configs::Answer::kNone &&
                           !configs::language_always_runs(config.detection);
  const auto elements = [&](const std::vector<sharding::Param>& params) {
    return static_cast<double>(elements_that_run(params, registry, tower_alone));
  };
  const double learns = elements(registry.trainable());
  const double frozen = elements(registry.frozen());
  return 2 + (learns + frozen > 0 ? learns / (learns + frozen) : 1);
}

}  // namespace

RunLog::RunLog(const configs::Config& config, const LossTerms& terms,
               const sharding::ParamRegistry& registry, const Start& start)
    : config_(config),
      terms_(terms),
      registry_(registry),
      metrics_(fs::path(config.run.dir) / "metrics.jsonl"),
      bytes_sent_(start.bytes_sent),
      started_step_(start.step),
      length_(start.length),
      rank_flops_(step_flops(registry, config) / start.ranks),
      peak_tflops_(start.peak_tflops) {
  metrics_.truncate_after(start.step);
  if (config.logging.tensorboard)
    tensorboard_.emplace(fs::path(config.run.dir) / "tensorboard", start.step + 1);
  say_length();
  if (!config.logging.command.empty())
    feed_.emplace(
        LineFeed::Options{.command = config.logging.command,
                          .environment = {{"MUSTER_RUN_DIR", fs::absolute(config.run.dir).string()},
                                          {"MUSTER_FIRST_STEP", std::to_string(start.step + 1)}}});
  if (config.lora.enabled) {
    const AdapterFacts facts = adapter_facts(config.lora, registry);
    write_adapter_facts(config.run.dir, facts);
    log::info("adapters of rank {} and the detection head train: {} of {} parameters", facts.rank,
              facts.trained, facts.total);
  }
  if (start.epoch < config.detection.freeze_epochs) {
    log::info("detection_head is frozen until epoch {} (detection.freeze_epochs)",
              config.detection.freeze_epochs);
  }
}

void RunLog::step(const StepStats& stats) {
  if (stats.step > started_step_ + 1) measured_s_ += stats.seconds();
  if (stats.epoch_fill) say_epoch(stats);
  if (!stats.applied) log::warn("step {} skipped on all ranks: {}", stats.step, stats.skip_reason);
  overfitting_.step(stats.agreed.loss.total);
  const MetricsRow row = row_of(stats);
  const bool told = stats.last || stats.step % config_.logging.every_steps == 0;
  write_row(stats.step, row, told);
  if (told) say_progress(stats);
  say_hours(stats);
  if (stats.last_in_epoch && stats.epoch + 1 == config_.detection.freeze_epochs)
    log::info("detection_head thaws at step {}", stats.step);
}

void RunLog::write_row(std::int64_t step, const MetricsRow& row, bool in_tensorboard) {
  metrics_.append(row);
  if (feed_) feed_->add(metrics_line(row));
  if (tensorboard_ && in_tensorboard) tensorboard_->write(step, measured_only(row));
}

double RunLog::tflops(const StepStats& stats) const {
  return rank_flops_ * static_cast<double>(stats.forward_flops) / stats.seconds() / 1e12;
}

// 0 where the peak is not known.
double RunLog::mfu(const StepStats& stats) const {
  return peak_tflops_ > 0 ? tflops(stats) / peak_tflops_ : 0;
}

// Weights are told of groups that have any to train.
void RunLog::append_groups(MetricsRow& row, const StepStats& stats) const {
  const auto& groups = registry_.groups();
  for (std::size_t g = 0; g < groups.size(); ++g) {
    append(row, metric::name(metric::kLearningRate, groups[g].name), stats.group_lrs[g]);
    append(row, metric::name(metric::kGroupGradNorm, groups[g].name), stats.group_norms[g]);
  }
  for (std::size_t g = 0; g < stats.group_updates.size(); ++g) {
    const sharding::UpdateNorms& norms = stats.group_updates[g];
    if (norms.weight == 0) continue;
    append(row, metric::name(metric::kWeightNorm, groups[g].name), norms.weight);
    append(row, metric::name(metric::kUpdateRatio, groups[g].name), norms.update / norms.weight);
  }
}

MetricsRow RunLog::row_of(const StepStats& stats) {
  MetricsRow row;
  append(row, metric::kStep, stats.step);
  append(row, metric::kEpoch, stats.epoch);
  append(row, metric::kLoss, stats.agreed.loss.total);
  for (std::int64_t i = 0; i < terms_.size(); ++i)
    append(row, metric::name(metric::kLossTerm, terms_.name(i)), stats.agreed.loss.terms[i]);
  append_groups(row, stats);
  append(row, metric::kGradNorm, stats.grad_norm);
  append(row, metric::kSkipped, stats.applied ? 0.0 : 1.0);
  append(row, metric::kTokens, stats.agreed.tokens);
  append(row, metric::kImages, stats.agreed.images);
  append(row, metric::kFill, stats.fill.fill);
  append(row, metric::kBalance, stats.fill.balance);
  append(row, metric::kTokensPerSecond, tokens_per_second(stats));
  append(row, metric::kTflops, tflops(stats));
  if (peak_tflops_ > 0) append(row, metric::kMfu, mfu(stats));
  append(row, metric::kSeconds, stats.seconds());
  append_phases(row, stats.phases);
  append(row, metric::kLossScale, stats.loss_scale);
  const std::int64_t sent_before = std::exchange(bytes_sent_, stats.agreed.bytes_sent);
  append(row, metric::kWireBytes, stats.agreed.bytes_sent - sent_before);
  append(row, metric::kMemoryBytes, stats.agreed.memory_bytes);
  append_engine_memory(row, stats);
  return row;
}

// Epochs of a few steps would say the same again and again.
void RunLog::say_epoch(const StepStats& stats) {
  const data::FillReport& epoch = *stats.epoch_fill;
  if (epoch_said_ && epoch.steps < config_.logging.every_steps) return;
  epoch_said_ = true;
  log::info(
      "epoch {}: {} steps, micro-batches {:.1f} % full, their costs' mean {:.1f} % of a step's "
      "largest",
      stats.epoch, epoch.steps, 100 * epoch.fill, 100 * epoch.balance);
}

void RunLog::say_progress(const StepStats& stats) const {
  const std::int64_t steps_here = stats.step - started_step_;
  const std::chrono::duration<double> elapsed = Clock::now() - started_;
  log::info("{}",
            progress_line({.step = stats.step,
                           .max_steps = length_.steps,
                           .loss = stats.agreed.loss.total,
                           .lr = shown_lr(registry_, stats.group_lrs),
                           .grad_norm = stats.grad_norm,
                           .tokens_per_s = tokens_per_second(stats),
                           .memory_bytes = stats.agreed.memory_bytes,
                           .seconds_per_step = elapsed.count() / static_cast<double>(steps_here),
                           .mfu = mfu(stats)}));
  if (steps_here > 1) warn_of_slow_loader(stats);  // the first step fills the queue
}

// length.json is for whoever looks at the run from outside: how many steps it will have.
void RunLog::say_length() {
  if (length_.steps == 0) return;
  log::info("the run: {}", length_.text());
  for (const std::string& warning : length_.warnings()) log::warn("{}", warning);
  write_text(fs::path(config_.run.dir) / "length.json",
             fmt::format("{{\"steps\": {}, \"epochs\": {}, \"steps_per_epoch\": {}, "
                         "\"images\": {}}}\n",
                         length_.steps, length_.epochs, length_.steps_per_epoch, length_.images));
}

// The first step pays for start-up; a few later ones say how long the rest will take.
void RunLog::say_hours(const StepStats& stats) const {
  constexpr std::int64_t kMeasured = 5;
  if (stats.step - started_step_ != kMeasured + 1 || stats.last) return;
  const double step_s = measured_s_ / static_cast<double>(kMeasured);
  log::info("at {:.3g} s a step the run takes {}, evaluations and checkpoints left out", step_s,
            human_seconds(step_s * static_cast<double>(length_.steps)));
}

void RunLog::evaluation(std::int64_t step, const Evaluation& evaluation) {
  write_row(step, evaluation_row(step, evaluation), true);
  const EvaluationRecord record = evaluation_record(step, evaluation);
  write_text(fs::path(config_.run.dir) / kEvaluationFile, evaluation_to_json(record));
  if (tensorboard_) write_pr_curves(step, record);
  if (evaluation.loss)
    if (const auto warning = overfitting_.evaluation(step, evaluation.loss->loss.total))
      log::warn("{}", *warning);
  for (const std::string& line : evaluation_lines(evaluation)) log::info("step {}: {}", step, line);
}

// Of all classes together, and of those with most true boxes.
void RunLog::write_pr_curves(std::int64_t step, const EvaluationRecord& record) {
  constexpr std::size_t kMostCurvesInTensorBoard = 12;
  if (record.all.curve.truths == 0) return;
  tensorboard_->write_pr_curve(step, "precision_recall/all", record.all.curve);
  std::vector<const ClassRecord*> classes;
  for (const ClassRecord& one : record.classes) classes.push_back(&one);
  std::ranges::stable_sort(classes, std::greater{},
                           [](const ClassRecord* one) { return one->curve.truths; });
  classes.resize(std::min(classes.size(), kMostCurvesInTensorBoard));
  for (const ClassRecord* one : classes)
    if (one->curve.truths > 0)
      tensorboard_->write_pr_curve(step, "precision_recall/" + one->curve.name, one->curve);
}

void RunLog::pictures(std::int64_t step, const std::vector<PngPicture>& pictures) {
  for (std::size_t i = 0; i < pictures.size(); ++i)
    tensorboard_->write_picture(step, fmt::format("predictions/{}", i), pictures[i]);
}

double shown_lr(const sharding::ParamRegistry& registry, std::span<const double> group_lrs) {
  double highest = 0;
  for (const sharding::Param& param : registry.trainable())
    highest = std::max(highest, group_lrs[static_cast<std::size_t>(param.group)]);
  return highest;
}

}  // namespace muster::trainer
