#include "trainer/checkpoint_schedule.h"

#include <fmt/core.h>

#include "base/error.h"
#include "base/files.h"
#include "base/log.h"
#include "base/version.h"
#include "trainer/checkpoint/files.h"
#include "trainer/checkpoint/lora_run.h"

namespace muster::trainer {

CheckpointSchedule::CheckpointSchedule(const CheckpointParts& parts)
    : my_(parts),
      first_rank_(my_.collective.rank() == 0),
      store_(my_.config.run.dir, my_.collective.rank(), my_.collective.size(),
             my_.config.checkpoint.keep) {
  if (my_.config.lora.enabled) base_ = base_of(my_.config);
}

void CheckpointSchedule::check_base(const Manifest& manifest, const fs::path& folder) const {
  if (manifest.base.has_value() != base_.has_value()) {
    throw CheckpointError(fmt::format(
        "{} was written with lora.enabled {}, now it is {}: use that setting, or start afresh with "
        "--fresh",
        folder.string(), manifest.base.has_value(), base_.has_value()));
  }
  if (!base_) return;
  if (manifest.base->fingerprint != base_->fingerprint) {
    throw CheckpointError(fmt::format(
        "{} holds adapters of the model in {}, and {} has other weights: name that model in "
        "model.path, or start afresh with --fresh",
        folder.string(), manifest.base->path, base_->path));
  }
  require_same_adapters(folder, lora_setup(my_.config, my_.detector.backbone().config()));
}

std::int64_t CheckpointSchedule::newest_step() {
  // Rank 0 decides, so that a checkpoint damaged under one rank's eyes cannot split the ranks.
  std::int64_t step = -1;
  if (first_rank_ && my_.config.checkpoint.resume) {
    if (const auto newest = store_.find_newest_whole()) step = read_manifest(*newest).state.step;
  }
  my_.collective.broadcast(std::as_writable_bytes(std::span(&step, 1)), 0);  // [C]
  return step;
}

RunState CheckpointSchedule::resume() {
  const std::int64_t step = newest_step();  // [C]
  if (step < 0) return {};
  const fs::path folder = store_.root() / CheckpointStore::folder_name(step);
  const Manifest manifest = read_manifest(folder);
  if (manifest.data_fingerprint != my_.data.train.fingerprint()) {
    throw CheckpointError(fmt::format(
        "{} was written while training on another pack than {}: its place in the data means "
        "nothing here. Use that pack, or start afresh with --fresh",
        folder.string(), configs::pack_names(my_.config.data.train)));
  }
  check_base(manifest, folder);
  load_parameters(my_.detector, folder);
  my_.engine.load(optimizer_files(folder));  // [C]
  if (first_rank_) {
    log::info("resumed from {} (written by {} ranks, now {}): step {}, epoch {}", folder.string(),
              manifest.world_size, my_.collective.size(), manifest.state.step,
              manifest.state.cursor.epoch);
  }
  return manifest.state;
}

void CheckpointSchedule::begin(const RunState& state) {
  const StepTimer::Scope phase(my_.timer, Phase::kCheckpoint);
  finish();  // [C] at most one is in flight
  my_.engine.await_all();
  Manifest manifest;
  manifest.state = state;
  manifest.layout_hash = my_.engine.layout_hash();
  manifest.data_fingerprint = my_.data.train.fingerprint();
  manifest.muster_version = kVersion;
  manifest.base = base_;
  store_.begin(manifest, checkpoint_job(my_.config, my_.detector, my_.engine,
                                        my_.data.train.class_map(), base_));
}

void CheckpointSchedule::finish() {
  const StepTimer::Scope phase(my_.timer, Phase::kCheckpoint);
  my_.engine.await_all();  // one thread at a time issues collectives
  std::vector<std::int64_t> pending{store_.busy()};
  my_.collective.all_reduce_sum(pending);  // [C] every rank may have committed it already
  if (pending[0] == 0) return;
  store_.wait();
  std::vector<std::int64_t> written{1};
  my_.collective.all_reduce_sum(written);  // [C] returns when every rank's files are on disk
  commit();
}

void CheckpointSchedule::commit() {
  const std::int64_t step = store_.commit();
  if (first_rank_ && best_ && best_->step == step) store_.mark_best(step, best_->metric);
}

}  // namespace muster::trainer
