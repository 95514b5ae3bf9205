#include "trainer/train_loop.h"

#include <fmt/core.h>

#include <algorithm>
#include <cmath>
#include <span>

#include <limits>

#include "base/error.h"
#include "base/fault.h"
#include "base/files.h"
#include "base/log.h"
#include "base/rng.h"
#include "base/tensors/tensor_memory.h"
#include "base/text.h"
#include "configs/groups.h"
#include "model/eval_mode.h"
#include "sharding/collectives/hosts.h"
#include "trainer/assembly/collective.h"
#include "trainer/assembly/detector.h"
#include "trainer/assembly/device.h"
#include "trainer/assembly/groups.h"
#include "trainer/assembly/options.h"
#include "trainer/assembly/peak.h"
#include "trainer/evaluate/gallery_files.h"
#include "trainer/evaluation.h"
#include "trainer/kept_batch.h"
#include "trainer/schedule.h"
#include "trainer/stop_signal.h"

namespace muster::trainer {

// --- one step ------------------------------------------------------------------------------------

StepStats Trainer::train_step() {
  timer_.enter(Phase::kData);
  const data::StepBatches step = loader_.next_step();  // this rank's share of G micro-batches
  StepTotals totals(step, terms_, *collective_);
  for (std::size_t k = 0; k < step.micro_batches.size(); ++k) {
    const at::Tensor loss = forward(step, k, totals);  // a sum; undefined for an empty one
    timer_.enter(Phase::kBackward);
    zero_.backward(loss, k + 1 == step.micro_batches.size());  // [C] buckets reduce meanwhile
  }
  timer_.enter(Phase::kConsensus);
  totals.close(checkpoints_.written(), memory_in_use(config_.run));
  checkpoints_.settle();  // what it copies may change once all ranks have agreed
  const auto verdict = zero_.consensus(totals.counts(), totals.values(), stop_signalled());  // [C]
  const StepTotals::Agreed agreed = totals.agreed(verdict);
  if (agreed.checkpoint_written) checkpoints_.commit();  // [C]
  timer_.enter(Phase::kOptimizer);
  const std::vector<double> lrs = current_lrs(step.steps_in_epoch);
  const bool applied = health_.accept(state_.step, verdict, agreed.loss, terms_);
  std::vector<sharding::UpdateNorms> updates;
  if (applied) {
    updates = update(lrs, verdict);  // [C] fused AdamW, gather
  } else {
    zero_.skip_step();
    if (!verdict.scale_too_high) keep_suspects(step, verdict);
  }
  zero_.empty_partition_cache(step.last_in_epoch);  // at epoch ends the host's free pages go, too
  StepStats stats = finish_step(step, verdict, agreed, lrs, applied);
  stats.group_updates = std::move(updates);
  return stats;
}

// This rank's k-th micro-batch of the step: the weighted sum of its loss terms, [] fp32 with a
// graph.
at::Tensor Trainer::forward(const data::StepBatches& step, std::size_t k, StepTotals& totals) {
  const MicroBatch& batch = step.micro_batches[k];
  recorder_.set_micro_batch(static_cast<std::int32_t>(k), batch.sample_ids);
  timer_.enter(Phase::kForward);
  if (batch.num_samples() == 0) return {};
  const std::int64_t slot = step.indices[k];
  // Every micro-batch of the run has noise of its own, the same for every world size.
  const std::int64_t number = state_.step * config_.batch.micro_batches_per_step + slot;
  const std::uint64_t noise = seed_of(config_.run.seed, number);
  model::HeadLossOptions options = head_loss_options(config_);
  options.frozen = head_frozen();
  const auto sums = detector_.loss(batch, options, noise);
  totals.add(batch, slot, sums);
  const at::Tensor loss = terms_.weigh(sums, step.denominators);
  return fault::take_nan() ? loss * std::numeric_limits<float>::quiet_NaN() : loss;
}

// Steps that the log tells of are measured: a look at every update would cost each step.
std::vector<sharding::UpdateNorms> Trainer::update(const std::vector<double>& lrs,
                                                   const sharding::StepVerdict& verdict) {
  if ((state_.step + 1) % config_.logging.every_steps == 0)
    return zero_.measured_step(lrs, verdict);  // [C]
  zero_.step(lrs, verdict);                    // [C]
  return {};
}

// Micro-batches of this rank that may be why the step was skipped, for muster check --replay: those
// with the worst losses; where every loss is finite and a gradient is not, all of the culprit's.
void Trainer::keep_suspects(const data::StepBatches& step, const sharding::StepVerdict& verdict) {
  if (config_.health.kept_batches == 0) return;
  const auto slots = static_cast<std::size_t>(config_.batch.micro_batches_per_step * terms_.size());
  const std::span<const double> sums = std::span(verdict.values).first(slots);
  const bool gradient_alone =
      !verdict.finite && std::ranges::all_of(sums, [](double sum) { return std::isfinite(sum); });
  const std::vector<std::int64_t> found = suspects(sums, terms_, step.denominators);
  for (std::size_t k = 0; k < step.micro_batches.size(); ++k) {
    const MicroBatch& batch = step.micro_batches[k];
    const bool suspect = gradient_alone ? verdict.culprit_rank == collective_->rank()
                                        : std::ranges::find(found, step.indices[k]) != found.end();
    if (!suspect || batch.num_samples() == 0) continue;
    KeptBatch kept{.batch = batch,
                   .step = state_.step + 1,
                   .number = state_.step * config_.batch.micro_batches_per_step + step.indices[k],
                   .reason = health_.reason(),
                   .samples = {}};
    for (const std::int64_t id : batch.sample_ids)
      kept.samples.push_back(data_.train.sample(id).name);
    const fs::path file = keep_batch(config_.run.dir, kept, config_.health.kept_batches);
    log::warn("a micro-batch of step {} is kept, of {}: muster check CONFIG --replay {}", kept.step,
              join(kept.samples, ", "), file.string());
  }
}

// Counters, cursor and clock; it touches no tensor.
StepStats Trainer::finish_step(const data::StepBatches& step, const sharding::StepVerdict& verdict,
                               const StepTotals::Agreed& agreed, const std::vector<double>& lrs,
                               bool applied) {
  ++state_.step;
  state_.cursor = {step.cursor.epoch, step.cursor.step_in_epoch + 1};
  if (step.last_in_epoch) state_.cursor = {step.cursor.epoch + 1, 0};
  state_.health = health_.state();
  recorder_.set_bytes_in_use(agreed.memory_bytes);
  recorder_.set_step(state_.step);
  return {.step = state_.step,
          .epoch = step.cursor.epoch,
          .applied = applied,
          .skip_reason = health_.reason(),
          .agreed = agreed,
          .loss_scale = verdict.loss_scale,
          .grad_norm = verdict.grad_norm,
          .group_norms = verdict.group_norms,
          .group_lrs = lrs,
          .engine_bytes = zero_.bytes().total(),
          .engine_peaks = zero_.step_peak(),
          .phases = timer_.lap(),
          .stop = verdict.stop,
          .last_in_epoch = step.last_in_epoch,
          .last = length_.over(state_.step, state_.cursor),
          .forward_flops = step.cost,
          .fill = step.fill,
          .epoch_fill = step.epoch_fill};
}

// --- the run -------------------------------------------------------------------------------------

namespace {

// Every so many steps, or at the end of every so many epochs, whichever is given.
bool is_due(std::optional<std::int64_t> steps, std::optional<std::int64_t> epochs,
            const StepStats& stats) {
  if (epochs) return stats.last_in_epoch && (stats.epoch + 1) % *epochs == 0;
  return steps.value_or(0) > 0 && stats.step % *steps == 0;
}

}  // namespace

void Trainer::train() {
  bool done = nothing_left();
  while (!done) {
    if (profile_) profile_->before(state_.step + 1);
    const StepStats stats = train_step();  // [C]
    if (profile_) profile_->after(state_.step);
    if (log_) log_->step(stats);
    if (step_observer_) step_observer_(stats);

    if (stats.stop && !stats.last) stop_now();  // [C]
    Evaluated evaluated;
    if (stats.last || is_due(config_.eval.every_steps, config_.eval.every_epochs, stats)) {
      evaluated = evaluate_now();  // [C] before the checkpoint, which records the result
      state_.ended_early = evaluated.stop;
    }
    waits_for_new_values_ = resume_.stops_at_epoch_end() && stats.last_in_epoch && !stats.last;
    done = stats.last || evaluated.stop || waits_for_new_values_;
    const configs::Checkpoint& c = config_.checkpoint;
    if (done) {
      checkpoints_.write_last(state_);  // [C]
    } else if (evaluated.best || is_due(c.every_steps, c.every_epochs, stats)) {
      checkpoints_.begin(state_);  // [C] the best is never lost, whenever it is found
    }
  }
  if (profile_) profile_->finish();
  if (waits_for_new_values_) return;
  show_ema();  // [C]
  write_predictions();
  hide_ema();  // [C]
  timer_.enter(Phase::kDone);
}

bool Trainer::nothing_left() const {
  const bool trained = length_.over(state_.step, state_.cursor);
  if (log_ && trained && length_.counts_epochs()) {
    log::info(
        "nothing is left to train: epoch {} of schedule.epochs {} is done; raise it, or start "
        "afresh with --fresh",
        state_.cursor.epoch, *config_.schedule.epochs);
  } else if (log_ && trained) {
    log::info(
        "nothing is left to train: step {} of schedule.max_steps {} is done; raise it, or start "
        "afresh with --fresh",
        state_.step, *config_.schedule.max_steps);
  } else if (log_ && state_.ended_early) {
    log::info(
        "nothing is left to train: the run ended early at step {}, after schedule.patience {} "
        "evaluations without progress; change it to go on, or start afresh with --fresh",
        state_.step, config_.schedule.patience);
  }
  return trained || state_.ended_early;
}

void Trainer::set_profile(const ProfiledSteps& steps) {
  profile_.emplace(Profile::Options{.steps = steps,
                                    .run_dir = config_.run.dir,
                                    .rank = collective_->rank(),
                                    .on_gpu = config_.run.device == configs::Device::kCuda});
}

void Trainer::stop_now() {
  if (profile_) profile_->finish();
  checkpoints_.write_last(state_);  // [C]
  throw StopRequested(
      fmt::format("stopped on request after step {}, checkpoint committed", state_.step));
}

std::vector<double> Trainer::current_lrs(std::int64_t steps_in_epoch) const {
  const RunPosition at = length_.position(state_.step, state_.cursor, steps_in_epoch);
  const double factor =
      lr_factor(config_.schedule, at) * health_.state().lr_scale * state_.plateau.factor;
  std::vector<double> lrs = group_lrs(config_.groups);
  for (double& lr : lrs) lr *= factor;
  if (head_frozen()) lrs[configs::index_of(configs::GroupId::kDetectionHead)] = 0;
  return lrs;
}

bool Trainer::head_frozen() const { return state_.cursor.epoch < config_.detection.freeze_epochs; }

Trainer::Evaluated Trainer::evaluate_now() {
  if (!data_.val) return {};
  const StepTimer::Scope phase(timer_, Phase::kEvaluate);
  zero_.await_all();
  show_ema();  // [C]
  const Evaluation evaluation = evaluate_all(detector_, data_.tokenizer, *data_.val, data_.encoder,
                                             config_, *collective_, eval_batches_);  // [C]
  if (log_) log_->evaluation(state_.step, evaluation);
  if (log_ && evaluation.head && log_->wants_pictures())
    log_->pictures(state_.step, first_pictures());
  hide_ema();  // [C]
  checkpoints_.note_evaluation(evaluation_record(state_.step, evaluation));
  if (const BoxResult* boxes = evaluation.boxes()) errors_ = boxes->errors;
  const double metric = best_metric_of(evaluation, config_.eval);
  Evaluated evaluated{.best = is_best(state_.plateau, config_.eval.best_mode, metric)};
  if (evaluated.best) checkpoints_.note_best(state_.step, metric);
  const PlateauAction action =
      observe(state_.plateau, config_.schedule, config_.eval.best_mode, metric);
  evaluated.stop = action == PlateauAction::kStop;
  if (evaluated.stop && log_)
    log::info("early stop: {} evaluations without progress", config_.schedule.patience);
  return evaluated;
}

// What is evaluated and shown is what people will use.
void Trainer::show_ema() {
  if (config_.ema.decay > 0) zero_.show_ema();  // [C]
}
void Trainer::hide_ema() {
  if (config_.ema.decay > 0) zero_.hide_ema();  // [C]
}

// The same ones at every evaluation, so that they can be compared over the steps.
std::vector<PngPicture> Trainer::first_pictures() {
  constexpr std::size_t kShown = 4;
  const model::EvalMode evaluating(detector_);
  const EvalImages images = eval_images(*data_.val, config_.eval.max_samples);
  return drawn_samples(detector_, data_.tokenizer, *data_.val, data_.encoder,
                       config_.detection.score_threshold, worst_samples(images.sample, {}, kShown));
}

// The worst pictures of the last evaluation, as the weights are now.
void Trainer::write_predictions() {
  if (!log_ || !data_.val || !config_.detection.enabled) return;
  constexpr std::size_t kShown = 12;
  const StepTimer::Scope phase(timer_, Phase::kEvaluate);
  zero_.await_all();
  const model::EvalMode evaluating(detector_);
  const EvalImages images = eval_images(*data_.val, config_.eval.max_samples);
  write_gallery(detector_, data_.tokenizer, *data_.val, data_.encoder,
                config_.detection.score_threshold, worst_samples(images.sample, errors_, kShown),
                fs::path(config_.run.dir) / "predictions");
}

// --- building and resuming -----------------------------------------------------------------------

namespace {

// Before the model is built: what no evaluation can measure is refused at once.
RunLength checked_length(const RunData& data, const configs::Config& config) {
  if (data.val) check_best_metric(config, *data.val);
  return {config.schedule, data.sampler};
}

}  // namespace

Trainer::Trainer(configs::Config config, std::shared_ptr<sharding::Collective> collective,
                 EpochChange epoch)
    : config_(std::move(config)),
      collective_(std::move(collective)),
      recorder_(black_box_folder(config_.run.dir) / fmt::format("rank-{}.bin", collective_->rank()),
                collective_->rank(), collective_->size()),
      timer_(recorder_),
      resume_(config_, *collective_, epoch),  // [C]
      terms_(config_.loss, config_.detection.labels),
      data_(config_),
      length_(checked_length(data_, config_)),
      detector_(
          build_detector(config_, data_.tokenizer, data_.train.class_map(), data_.captions.words)),
      zero_(build_engine()),  // [C]
      checkpoints_({config_, data_, detector_, zero_, *collective_, timer_}),
      state_(checkpoints_.resume(resume_)),  // [C]
      health_(config_.health, state_.health),
      loader_(data_.samples, data_.sampler,
              loader_options(config_, collective_->rank(), collective_->size(), state_.cursor,
                             state_.step)) {
  detector_.set_forward_gate([this](std::string_view prefix) {
    const std::lock_guard lock(gate_mutex_);  // the engine is asked by one thread at a time
    zero_.await(prefix);
  });
  trim_tensor_memory();  // what loading needed at once, steps need not
  if (state_.step > 0) recorder_.set_step(state_.step);
  if (collective_->rank() != 0) return;
  data_.log_summary();
  const LengthReport length = report_length(config_.schedule, data_.sampler, data_.train);
  log_.emplace(config_, terms_, zero_.registry(),
               RunLog::Start{.length = length,
                             .ranks = collective_->size(),
                             .peak_tflops = peak_tflops(config_),
                             .step = state_.step,
                             .epoch = state_.cursor.epoch,
                             .bytes_sent = collective_->stats().bytes_sent});
}

sharding::ZeroEngine Trainer::build_engine() {
  timer_.enter(Phase::kLoad);
  sharding::EngineOptions options = engine_options(config_);
  options.micro_batches_per_rank = config_.batch.micro_batches_per_step / collective_->size();
  if (options.reduce == sharding::ReduceKind::kTree)
    options.ranks_per_node = sharding::ranks_per_node(*collective_);  // [C]
  options.observer = [this](const sharding::CollectiveEvent& event) {
    // That one is done is learned later, whatever the rank does then: it must not seem to go back.
    recorder_.record(event.done ? timer_.phase() : event.phase, event.bucket, event.number);
  };
  return {register_parameters(config_, detector_), collective_, options};
}

}  // namespace muster::trainer
