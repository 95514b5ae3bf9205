#include "trainer/train_loop.h"

#include <fmt/core.h>

#include <limits>

#include "base/error.h"
#include "base/fault.h"
#include "base/files.h"
#include "base/log.h"
#include "base/rng.h"
#include "configs/groups.h"
#include "model/eval_mode.h"
#include "trainer/assembly/detector.h"
#include "trainer/assembly/device.h"
#include "trainer/assembly/groups.h"
#include "trainer/assembly/options.h"
#include "trainer/evaluate/evaluate.h"
#include "trainer/evaluate/predictions.h"
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
  const auto verdict = zero_.consensus(totals.counts(), totals.values(), stop_signalled());  // [C]
  const StepTotals::Agreed agreed = totals.agreed(verdict);
  if (agreed.checkpoint_written) checkpoints_.commit();
  timer_.enter(Phase::kOptimizer);
  const std::vector<double> lrs = current_lrs();
  const bool applied = health_.accept(state_.step, verdict, agreed.loss, terms_);
  if (applied) {
    zero_.step(lrs, verdict);  // [C] fused AdamW, gather
  } else {
    zero_.skip_step();
  }
  zero_.empty_partition_cache(step.last_in_epoch);  // at epoch ends the host's free pages go, too
  return finish_step(step, verdict, agreed, lrs, applied);
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
  const auto sums = detector_.loss(batch, head_loss_options(config_), noise);
  totals.add(batch, slot, sums);
  const at::Tensor loss = terms_.weigh(sums, step.denominators);
  return fault::take_nan() ? loss * std::numeric_limits<float>::quiet_NaN() : loss;
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
          .fill = step.fill,
          .epoch_fill = step.epoch_fill};
}

// --- the run -------------------------------------------------------------------------------------

void Trainer::train() {
  const auto every = [&](std::int64_t steps) { return steps > 0 && state_.step % steps == 0; };
  bool early_stop = false;
  while (state_.step < config_.schedule.max_steps && !early_stop) {
    const StepStats stats = train_step();  // [C]
    if (log_) log_->step(stats);
    if (step_observer_) step_observer_(stats);

    const bool last = state_.step == config_.schedule.max_steps;
    if (stats.stop && !last) stop_now();  // [C]
    if (last || every(config_.eval.every_steps)) {
      early_stop = evaluate_now();  // [C] before the checkpoint, which records the result
    }
    if (last || early_stop || every(config_.checkpoint.every_steps)) {
      checkpoints_.begin(state_);  // [C]
    }
  }
  checkpoints_.finish();  // [C]
  write_predictions();
  timer_.enter(Phase::kDone);
}

void Trainer::stop_now() {
  checkpoints_.begin(state_);  // [C]
  checkpoints_.finish();       // [C]
  throw StopRequested(
      fmt::format("stopped on request after step {}, checkpoint committed", state_.step));
}

std::vector<double> Trainer::current_lrs() const {
  const double factor =
      lr_factor(config_.schedule, state_.step) * health_.state().lr_scale * state_.plateau.factor;
  std::vector<double> lrs = group_lrs(config_.groups);
  for (double& lr : lrs) lr *= factor;
  if (state_.cursor.epoch < config_.detection.freeze_epochs) {
    lrs[configs::index_of(configs::GroupId::kDetectionHead)] = 0;
  }
  return lrs;
}

bool Trainer::evaluate_now() {
  if (!data_.val || !config_.detection.enabled) return false;
  const StepTimer::Scope phase(timer_, Phase::kEvaluate);
  zero_.await_all();
  const EvalOptions options{.max_samples = config_.eval.max_samples,
                            .samples_per_batch = config_.batch.max_samples};
  const EvalResult result = evaluate(detector_, data_.tokenizer, *data_.val, data_.encoder, options,
                                     *collective_);  // [C]
  if (log_) log_->evaluation(state_.step, result);
  const double ap50 = result.coco.metrics.at("AP50");
  if (ap50 > state_.plateau.best) checkpoints_.note_best(state_.step, ap50);
  const bool stop = observe(state_.plateau, config_.schedule, ap50) == PlateauAction::kStop;
  if (stop && log_)
    log::info("early stop: {} evaluations without progress", config_.schedule.patience);
  return stop;
}

void Trainer::write_predictions() {
  if (!log_ || !data_.val || !config_.detection.enabled) return;
  constexpr std::int64_t kShown = 12;
  const StepTimer::Scope phase(timer_, Phase::kEvaluate);
  zero_.await_all();
  const model::EvalMode evaluating(detector_);
  write_gallery(detector_, data_.tokenizer, *data_.val, data_.encoder,
                config_.detection.score_threshold, kShown,
                fs::path(config_.run.dir) / "predictions");
}

// --- building and resuming -----------------------------------------------------------------------

Trainer::Trainer(configs::Config config, std::shared_ptr<sharding::Collective> collective)
    : config_(std::move(config)),
      collective_(std::move(collective)),
      recorder_(black_box_folder(config_.run.dir) / fmt::format("rank-{}.bin", collective_->rank()),
                collective_->rank(), collective_->size()),
      timer_(recorder_),
      terms_(config_.loss),
      data_(config_),
      detector_(build_detector(config_, data_.tokenizer)),
      zero_(build_engine()),  // [C]
      checkpoints_({config_, data_, detector_, zero_, *collective_, timer_}),
      state_(checkpoints_.resume()),  // [C]
      health_(config_.health, state_.health),
      loader_(data_.samples, data_.sampler,
              loader_options(config_, collective_->rank(), collective_->size(), state_.cursor,
                             state_.step)) {
  detector_.set_forward_gate([this](std::string_view prefix) { zero_.await(prefix); });
  if (state_.step > 0) recorder_.set_step(state_.step);
  if (collective_->rank() != 0) return;
  data_.log_summary();
  log_.emplace(config_, terms_, zero_.registry(),
               RunLog::Start{.step = state_.step,
                             .epoch = state_.cursor.epoch,
                             .bytes_sent = collective_->stats().bytes_sent});
}

sharding::ZeroEngine Trainer::build_engine() {
  timer_.enter(Phase::kLoad);
  sharding::EngineOptions options = engine_options(config_);
  options.observer = [this](int bucket, std::int64_t collective_number, std::string_view) {
    recorder_.record(Phase::kReduce, bucket, collective_number);
  };
  return {register_parameters(config_, detector_), collective_, options};
}

}  // namespace muster::trainer
