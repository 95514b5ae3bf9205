#include "trainer/train_loop.h"

#include <fmt/core.h>

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "base/files.h"
#include "base/log.h"
#include "base/rng.h"
#include "base/tensors/process_memory.h"
#include "sharding/cuda_library.h"
#include "trainer/assembly/from_config.h"
#include "trainer/assembly/run_data.h"
#include "trainer/checkpoint/files.h"
#include "trainer/evaluate/predictions.h"
#include "trainer/show/progress_line.h"
#include "trainer/stop_signal.h"

namespace muster::trainer {
namespace {

// Slots of the consensus' counts.
enum Count : std::size_t {
  kTokens,
  kImages,
  kLabels,
  kBoxes,
  kCaptionTokens,
  kCheckpointWritten,
  kNumCounts
};

double now_seconds() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

// Every micro-batch of the run has a number of its own, the same for every world size.
std::uint64_t noise_seed(std::int64_t run_seed, std::int64_t step, std::int64_t micro_batches,
                         std::int64_t index) {
  return splitmix64(static_cast<std::uint64_t>(run_seed) ^
                    splitmix64(static_cast<std::uint64_t>(step * micro_batches + index)));
}

// Of the device that computes.
std::int64_t memory_in_use(const configs::Run& run) {
  return run.device == configs::Device::kCuda
             ? sharding::load_cuda_library().device_memory().peak_held
             : resident_bytes();
}

std::span<const double> doubles_of(const at::Tensor& host) {  // [n] f64
  return {host.const_data_ptr<double>(), static_cast<std::size_t>(host.numel())};
}

// What rank 0's engine holds between steps, and the most of each transient kind within this one.
void append_engine_memory(MetricsRow& row, const sharding::ZeroEngine& engine) {
  const sharding::TransientBytes peak = engine.step_peak();
  const std::pair<const char*, std::int64_t> numbers[] = {
      {"memory.engine", engine.bytes().total()}, {"memory.staging", peak.staging},
      {"memory.receive", peak.receive},          {"memory.gradient", peak.gradient},
      {"memory.consensus", peak.consensus},      {"memory.snapshot", peak.snapshot}};
  for (const auto& [name, bytes] : numbers) row.emplace_back(name, static_cast<double>(bytes));
}

}  // namespace

// --- one step
// --------------------------------------------------------------------------------------------------------

StepStats Trainer::train_step() {
  timer_.enter(Phase::kData);
  data::StepBatches step = loader_->next_step();  // this rank's share of G micro-batches
  const std::int64_t G = config_.batch.micro_batches_per_step;
  std::vector<std::int64_t> counts(kNumCounts, 0);
  std::vector<double> values(G * terms_.size() + collective_->size(),
                             0.0);  // loss sums by slot, then memory by rank

  std::vector<std::pair<std::int64_t, at::Tensor>>
      sums;  // first slot in values; read once a GPU is through with all

  for (std::size_t k = 0; k < step.micro_batches.size(); ++k) {
    const MicroBatch& batch = step.micro_batches[k];
    recorder_.set_micro_batch(static_cast<std::int32_t>(k), batch.sample_ids);
    at::Tensor total;  // undefined for an empty micro-batch: zeros are reduced
    timer_.enter(Phase::kForward);
    if (batch.num_samples() > 0) {
      const auto seed = noise_seed(config_.run.seed, state_.step, G, step.indices[k]);
      const auto terms =
          detector_.loss(batch, head_loss_options(config_), seed);  // sums, not means
      total = terms_.weigh(terms, step.denominators);
      sums.emplace_back(step.indices[k] * terms_.size(), terms_.sums(terms));
      counts[kTokens] += batch.cu_seqlens.back();
      counts[kImages] += batch.num_images();
      counts[kLabels] += batch.denominators.tokens;
      counts[kBoxes] += batch.denominators.boxes;
      counts[kCaptionTokens] += batch.denominators.caption_tokens;
    }
    timer_.enter(Phase::kBackward);
    zero_->backward(total,
                    k + 1 == step.micro_batches.size());  // [C] buckets reduce while autograd runs
  }

  timer_.enter(Phase::kConsensus);
  for (const auto& [slot, sum] : sums)
    std::ranges::copy(doubles_of(sum.cpu()), values.begin() + slot);
  counts[kCheckpointWritten] = store_.written();
  values[G * terms_.size() + collective_->rank()] = static_cast<double>(memory_in_use(config_.run));
  const sharding::StepVerdict verdict = zero_->consensus(counts, values, stop_signalled());  // [C]
  const Denominators seen{verdict.counts[kLabels], verdict.counts[kBoxes],
                          verdict.counts[kCaptionTokens]};
  TORCH_CHECK(seen == step.denominators, "the ranks' samples are not those of the sampler's plan");
  if (verdict.counts[kCheckpointWritten] == collective_->size()) commit_checkpoint();

  const std::int64_t sent_before = std::exchange(bytes_sent_, collective_->stats().bytes_sent);

  const auto loss_slots_end = verdict.values.begin() + G * terms_.size();
  StepStats stats;
  stats.loss = terms_.report({verdict.values.begin(), loss_slots_end}, step.denominators);
  stats.group_lrs = current_lrs();
  timer_.enter(Phase::kOptimizer);
  stats.scale_too_high = verdict.scale_too_high;
  stats.loss_scale = verdict.loss_scale;
  stats.applied =
      !verdict.scale_too_high && health_.accept(state_.step, verdict, stats.loss, terms_);
  if (stats.applied)
    zero_->step(stats.group_lrs, verdict);  // [C] fused AdamW, gather
  else
    zero_->skip_step();
  zero_->empty_partition_cache(
      step.last_in_epoch);  // at epoch ends the host's free pages go back too

  ++state_.step;
  state_.cursor = step.last_in_epoch
                      ? data::Cursor{step.cursor.epoch + 1, 0}
                      : data::Cursor{step.cursor.epoch, step.cursor.step_in_epoch + 1};
  state_.health = health_.state();
  stats.step = state_.step;
  stats.epoch = step.cursor.epoch;
  stats.grad_norm = verdict.grad_norm;
  stats.group_norms = verdict.group_norms;
  stats.tokens = verdict.counts[kTokens];
  stats.images = verdict.counts[kImages];
  stats.wire_bytes = bytes_sent_ - sent_before;
  stats.memory_bytes =
      static_cast<std::int64_t>(*std::max_element(loss_slots_end, verdict.values.end()));
  stats.stop = verdict.stop;
  stats.last_in_epoch = step.last_in_epoch;
  recorder_.set_bytes_in_use(stats.memory_bytes);
  recorder_.set_step(state_.step);
  stats.phases = timer_.lap();
  stats.seconds = stats.phases.total();
  return stats;
}

// --- the run
// ---------------------------------------------------------------------------------------------------------

void Trainer::train() {
  StepStats stats;
  const auto every = [&](std::int64_t steps) { return steps > 0 && state_.step % steps == 0; };
  while (state_.step < config_.schedule.max_steps) {
    stats = train_step();
    if (!stats.applied && first_rank_) {
      log::warn("step {} skipped on all ranks: {}", stats.step,
                stats.scale_too_high
                    ? fmt::format("gradients overflow fp16 at loss scale {}", stats.loss_scale)
                    : health_.reason());
    }
    log_step(stats);
    if (first_rank_ && stats.last_in_epoch &&
        state_.cursor.epoch == config_.detection.freeze_epochs) {
      log::info("detection_head thaws at step {}", state_.step);
    }
    if (step_observer_) step_observer_(stats);

    const bool last = state_.step == config_.schedule.max_steps;
    if (stats.stop && !last) stop_now();
    if (last || every(config_.eval.every_steps))
      evaluate_now();  // before the checkpoint, which records the result
    if (last || early_stop_ || every(config_.checkpoint.every_steps)) begin_checkpoint();
    if (early_stop_) break;
  }
  finish_checkpoint();
  write_predictions();
  timer_.enter(Phase::kDone);
}

void Trainer::stop_now() {
  begin_checkpoint();
  finish_checkpoint();
  throw StopRequested(
      fmt::format("stopped on request after step {}, checkpoint committed", state_.step));
}

double Trainer::lr_scale() const {
  return lr_factor(config_.schedule, state_.step) * health_.state().lr_scale *
         state_.plateau.factor;
}

std::vector<double> Trainer::current_lrs() const {
  std::vector<double> lrs = group_lrs(config_.groups);
  for (double& lr : lrs) lr *= lr_scale();
  constexpr std::size_t kHead = 2;  // group_rules(): merger, visual, detection_head, ...
  if (state_.cursor.epoch < config_.detection.freeze_epochs) lrs[kHead] = 0;
  return lrs;
}

// --- building and resuming
// -------------------------------------------------------------------------------------------

Trainer::Trainer(configs::Config config, std::shared_ptr<sharding::Collective> collective)
    : config_(std::move(config)),
      collective_(std::move(collective)),
      first_rank_(collective_->rank() == 0),
      recorder_(
          fs::path(config_.run.dir) / "black_box" / fmt::format("rank-{}.bin", collective_->rank()),
          collective_->rank(), collective_->size()),
      terms_(config_.loss),
      data_(std::make_unique<RunData>(config_)),
      detector_(build_detector(config_, data_->tokenizer)),
      health_(config_.health),
      store_(config_.run.dir, collective_->rank(), collective_->size(), config_.checkpoint.keep),
      timer_(recorder_) {
  timer_.enter(Phase::kLoad);
  std::vector<sharding::NamedTensor> tensors;
  for (const model::NamedParam& p : detector_.parameters()) tensors.push_back({p.name, p.tensor});
  sharding::EngineOptions options = engine_options(config_);
  options.observer = [this](int bucket, std::int64_t collective_number, std::string_view) {
    recorder_.record(Phase::kReduce, bucket, collective_number);
  };
  zero_ = std::make_unique<sharding::ZeroEngine>(
      sharding::ParamRegistry(tensors, group_rules(config_), config_.optimizer.decay_1d),
      collective_, options);
  detector_.set_forward_gate([this](std::string_view prefix) { zero_->await(prefix); });
  detector_.set_training(true);
  resume();
  loader_ = std::make_unique<data::Loader>(data_->train, data_->encoder, data_->sampler,
                                           sampler_options(config_), collective_->rank(),
                                           collective_->size(), config_.data.loader_threads,
                                           config_.data.prefetch_micro_batches, state_.cursor);
  if (first_rank_) {
    metrics_.emplace(fs::path(config_.run.dir) / "metrics.jsonl");
    metrics_->truncate_after(state_.step);
    if (config_.logging.tensorboard)
      tensorboard_.emplace(fs::path(config_.run.dir) / "tensorboard", state_.step + 1);
    data_->log_summary();
    if (state_.cursor.epoch < config_.detection.freeze_epochs) {
      log::info("detection_head is frozen until epoch {} (detection.freeze_epochs)",
                config_.detection.freeze_epochs);
    }
  }
  bytes_sent_ = collective_->stats().bytes_sent;
  started_ = now_seconds();
  started_step_ = state_.step;
}

Trainer::~Trainer() = default;

void Trainer::resume() {
  // Rank 0 decides, so that a checkpoint damaged under one rank's eyes cannot split the ranks.
  std::int64_t step = -1;
  if (first_rank_ && config_.checkpoint.resume) {
    if (const auto newest = store_.find_newest_whole()) step = read_manifest(*newest).state.step;
  }
  collective_->broadcast(std::as_writable_bytes(std::span(&step, 1)), 0);
  if (step < 0) return;
  const fs::path folder = store_.root() / CheckpointStore::folder_name(step);
  const Manifest manifest = read_manifest(folder);
  if (manifest.data_fingerprint != data_->train.fingerprint()) {
    throw CheckpointError(fmt::format(
        "{} was written while training on another pack than {}: its place in the data means "
        "nothing here. Use that pack, or start afresh with --fresh",
        folder.string(), config_.data.train));
  }
  load_parameters(detector_, folder);
  zero_->load(optimizer_files(folder));
  state_ = manifest.state;
  health_.restore(state_.health);
  recorder_.set_step(state_.step);
  if (first_rank_) {
    log::info("resumed from {} (written by {} ranks, now {}): step {}, epoch {}", folder.string(),
              manifest.world_size, collective_->size(), state_.step, state_.cursor.epoch);
  }
}

// --- checkpoints, evaluation, logs
// -----------------------------------------------------------------------------------

void Trainer::begin_checkpoint() {
  finish_checkpoint();  // at most one in flight
  timer_.enter(Phase::kCheckpoint);
  zero_->await_all();
  Manifest manifest;
  manifest.state = state_;
  manifest.layout_hash = zero_->layout_hash();
  manifest.data_fingerprint = data_->train.fingerprint();
  manifest.muster_version = MUSTER_VERSION;
  store_.begin(manifest, checkpoint_job(config_, detector_, *zero_, data_->train.class_map()));
  timer_.enter(Phase::kIdle);
}

void Trainer::finish_checkpoint() {
  timer_.enter(Phase::kCheckpoint);
  zero_->await_all();  // one thread at a time issues collectives
  std::vector<std::int64_t> pending{store_.busy()};
  collective_->all_reduce_sum(pending);  // [C] a checkpoint may be committed on every rank already
  if (pending[0] == 0) return;
  store_.wait();
  std::vector<std::int64_t> written{1};
  collective_->all_reduce_sum(written);  // [C] returns when every rank's files are on disk
  commit_checkpoint();
}

void Trainer::commit_checkpoint() {
  const std::int64_t step = store_.commit();
  if (first_rank_ && best_ && best_->step == step) store_.mark_best(step, best_->metric);
}

void Trainer::evaluate_now() {
  if (!data_->val || !config_.detection.enabled) return;
  timer_.enter(Phase::kEvaluate);
  zero_->await_all();
  const EvalOptions options{config_.eval.max_samples, config_.batch.max_samples};
  const EvalResult result =
      evaluate(detector_, data_->tokenizer, *data_->val, data_->encoder, options, *collective_);
  const double ap50 = result.coco.metrics.at("AP50");
  if (ap50 > state_.plateau.best) best_ = Best{state_.step, ap50};
  early_stop_ = observe(state_.plateau, config_.schedule, ap50) == PlateauAction::kStop;
  if (early_stop_ && first_rank_)
    log::info("early stop: {} evaluations without progress", config_.schedule.patience);
  if (first_rank_) {
    MetricsRow row = {{"step", static_cast<double>(state_.step)}};
    for (const auto& [name, value] : result.coco.metrics) row.emplace_back("eval." + name, value);
    row.emplace_back("eval.class_agnostic_AP50", result.class_agnostic_ap50);
    metrics_->append(row);
    if (tensorboard_) tensorboard_->write(state_.step, row);
    log::info("step {}: AP {:.4f}  AP50 {:.4f}  class-agnostic AP50 {:.4f}  ({} detections)",
              state_.step, result.coco.metrics.at("AP"), ap50, result.class_agnostic_ap50,
              result.detections);
  }
  timer_.enter(Phase::kIdle);
}

void Trainer::log_step(const StepStats& stats) {
  if (!first_rank_) return;
  MetricsRow row = {{"step", static_cast<double>(stats.step)},
                    {"epoch", static_cast<double>(stats.epoch)},
                    {"loss", stats.loss.total}};
  for (std::int64_t i = 0; i < terms_.size(); ++i)
    row.emplace_back("loss." + terms_.name(i), stats.loss.terms[i]);
  const auto& groups = zero_->registry().groups();
  for (std::size_t g = 0; g < groups.size(); ++g) {
    row.emplace_back("lr." + groups[g].name, stats.group_lrs[g]);
    row.emplace_back("grad_norm." + groups[g].name, stats.group_norms[g]);
  }
  const double tokens_per_s = static_cast<double>(stats.tokens) / stats.seconds;
  const StepTimer::Seconds& t = stats.phases;
  const std::pair<const char*, double> numbers[] = {
      {"grad_norm", stats.grad_norm},
      {"skipped", stats.applied ? 0.0 : 1.0},
      {"tokens", static_cast<double>(stats.tokens)},
      {"images", static_cast<double>(stats.images)},
      {"tokens_per_s", tokens_per_s},
      {"seconds", stats.seconds},
      {"seconds.data", t.data},
      {"seconds.forward", t.forward},
      {"seconds.backward", t.backward},
      {"seconds.communication", t.communication},
      {"seconds.optimizer", t.optimizer},
      {"loss_scale", stats.loss_scale},
      {"wire_bytes", static_cast<double>(stats.wire_bytes)},
      {"memory_bytes", static_cast<double>(stats.memory_bytes)}};
  row.insert(row.end(), std::begin(numbers), std::end(numbers));
  append_engine_memory(row, *zero_);
  metrics_->append(row);
  if (stats.step % config_.logging.every_steps != 0 && stats.step != config_.schedule.max_steps)
    return;
  if (tensorboard_) tensorboard_->write(stats.step, row);
  StepLine line;
  line.step = stats.step;
  line.max_steps = config_.schedule.max_steps;
  line.loss = stats.loss.total;
  line.lr = *std::max_element(stats.group_lrs.begin(), stats.group_lrs.end());
  line.grad_norm = stats.grad_norm;
  line.tokens_per_s = tokens_per_s;
  line.memory_bytes = stats.memory_bytes;
  line.seconds_per_step =
      (now_seconds() - started_) / static_cast<double>(stats.step - started_step_);
  log::info("{}", progress_line(line));
  constexpr double kLoaderShare = 0.3;  // of a step; beyond it, more loader threads pay
  if (t.data > kLoaderShare * stats.seconds && stats.step > started_step_ + 1) {
    log::warn(
        "the loader is the bottleneck: {:.0f} % of the step waited for data; raise "
        "data.loader_threads",
        100 * t.data / stats.seconds);
  }
}

void Trainer::write_predictions() {
  if (!first_rank_ || !data_->val || !config_.detection.enabled) return;
  constexpr std::int64_t kShown = 12;
  zero_->await_all();
  detector_.set_training(false);
  write_gallery(detector_, data_->tokenizer, *data_->val, data_->encoder,
                config_.detection.score_threshold, kShown,
                fs::path(config_.run.dir) / "predictions");
}

}  // namespace muster::trainer
