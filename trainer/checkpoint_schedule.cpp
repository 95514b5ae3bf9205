#include "trainer/checkpoint_schedule.h"

#include <fmt/core.h>

#include "base/error.h"
#include "base/files.h"
#include "base/log.h"
#include "base/process/atomic_file.h"
#include "base/version.h"
#include "sharding/state/shard_store.h"
#include "trainer/checkpoint/files.h"
#include "trainer/checkpoint/lora_run.h"

namespace muster::trainer {

CheckpointSchedule::CheckpointSchedule(const CheckpointParts& parts)
    : my_(parts),
      first_rank_(my_.collective.rank() == 0),
      // Half of what the other ranks wait for rank 0, in a collective.
      store_(my_.config.run.dir, my_.collective,
             {.keep = my_.config.checkpoint.keep,
              .keep_best = my_.config.checkpoint.keep_best,
              .best_metric = my_.config.eval.best_metric,
              .patience = std::chrono::duration<double>(my_.config.sharding.timeout_s / 2)}) {
  if (my_.config.lora.enabled) base_ = base_of(my_.config);
}

void CheckpointSchedule::check_data(const Resume& from, RunState& state) const {
  const std::string now = my_.data.train.fingerprint();
  if (from.manifest().data_fingerprint == now || state.cursor.step_in_epoch == 0) return;
  throw ConfigError(fmt::format(
      "(R-027) {} lies inside epoch {} and was written while training on another pack than {}: its "
      "place in the data means nothing here. Use that pack, begin the epoch anew with "
      "--restart-epoch, or start afresh with --fresh",
      from.folder().string(), state.cursor.epoch, configs::pack_names(my_.config.data.train)));
}

void CheckpointSchedule::check_base(const Manifest& manifest, const fs::path& folder) const {
  if (manifest.base.has_value() != base_.has_value()) {
    throw ConfigError(fmt::format(
        "(R-027) {} was written with lora.enabled {}, now it is {}: use that setting, or start "
        "afresh with --fresh",
        folder.string(), manifest.base.has_value(), base_.has_value()));
  }
  if (!base_) return;
  if (manifest.base->fingerprint != base_->fingerprint) {
    throw ConfigError(fmt::format(
        "(R-027) {} holds adapters of the model in {}, and {} has other weights: name that model "
        "in model.path, or start afresh with --fresh",
        folder.string(), manifest.base->path, base_->path));
  }
  require_same_adapters(folder, lora_setup(my_.config, my_.detector.backbone().config()));
}

// [C] What is wrong, "" for nothing: a problem of this rank alone in its first half, of any rank in
// its second.
std::string CheckpointSchedule::load(const Resume& from) {
  const std::vector<fs::path> shards = optimizer_files(from.folder(), from.manifest());
  std::string problem;
  try {
    if (shards.empty()) throw CheckpointError("it has no optimizer-*.h5");
    const std::vector<std::string> mastered = sharding::parameters_in(shards.front());
    load_parameters(my_.detector, from.folder(), {mastered.begin(), mastered.end()});
  } catch (const CheckpointError& error) {
    problem = error.what();
  } catch (const IoError& error) {
    problem = error.what();
  }
  std::vector<std::int64_t> failed{problem.empty() ? 0 : 1};
  my_.collective.all_reduce_sum(failed);  // [C]
  if (failed[0] > 0) return problem;
  try {
    my_.engine.load(shards);  // [C]
  } catch (const CheckpointError& error) {
    return error.what();
  }
  return "";
}

RunState CheckpointSchedule::resume(Resume& from) {
  const StepTimer::Scope phase(my_.timer, Phase::kLoad);
  while (from.found()) {
    RunState state = from.state();
    check_data(from, state);
    check_base(from.manifest(), from.folder());
    const std::string problem = load(from);  // [C]
    if (!from.confirm(problem)) continue;    // [C]
    if (const auto evaluation = read_evaluation(from.folder() / kEvaluationFile))
      note_evaluation(*evaluation);
    if (first_rank_) from.record();
    return state;
  }
  return {};
}

void CheckpointSchedule::begin(const RunState& state, Afterwards afterwards) {
  const StepTimer::Scope phase(my_.timer, Phase::kCheckpoint);
  finish();  // [C] at most one is in flight
  my_.engine.await_all();
  Manifest manifest;
  manifest.state = state;
  manifest.layout_hash = my_.engine.layout_hash();
  manifest.data_fingerprint = my_.data.train.fingerprint();
  manifest.muster_version = kVersion;
  manifest.base = base_;
  const bool mean = my_.config.ema.decay > 0;  // shown while it is copied, so nothing is lent
  CheckpointStore::Job job =
      checkpoint_job(my_.config, my_.detector, my_.engine, my_.data.train.class_map(), base_,
                     mean ? Afterwards::kTrains : afterwards);
  if (first_rank_ && !evaluation_.empty()) {
    job.write = [write = std::move(job.write), evaluation = evaluation_](const fs::path& folder) {
      std::vector<std::string> names = write(folder);
      write_text(folder / kEvaluationFile, evaluation);
      names.emplace_back(kEvaluationFile);
      return names;
    };
  }
  if (mean) my_.engine.show_ema();         // [C] its weights are the ones people use
  store_.begin(manifest, std::move(job));  // [C]
  if (!mean) return;
  store_.settle();
  my_.engine.hide_ema();  // [C]
}

void CheckpointSchedule::write_last(const RunState& state) {
  begin(state, Afterwards::kEnds);  // [C]
  finish();                         // [C]
}

void CheckpointSchedule::settle() {
  if (!store_.copying()) return;
  const StepTimer::Scope phase(my_.timer, Phase::kCheckpoint);
  store_.settle();
}

void CheckpointSchedule::note_evaluation(const EvaluationRecord& evaluation) {
  evaluation_ = evaluation_to_json(evaluation);
}

void CheckpointSchedule::finish() {
  const StepTimer::Scope phase(my_.timer, Phase::kCheckpoint);
  my_.engine.await_all();  // one thread at a time issues collectives
  std::vector<std::int64_t> pending{store_.pending_step() >= 0};
  my_.collective.all_reduce_sum(pending);  // [C] every rank may have committed it already
  if (pending[0] > 0) {
    store_.wait_written();
    std::vector<std::int64_t> written{1};
    my_.collective.all_reduce_sum(written);  // [C] returns when every rank's files are on disk
    commit();                                // [C]
  }
  store_.wait_committed();
  std::vector<std::int64_t> committed{1};
  my_.collective.all_reduce_sum(committed);  // [C] returns when rank 0 has renamed the folder
}

void CheckpointSchedule::commit() {
  my_.engine.await_all();  // one thread at a time issues collectives
  const bool best = best_ && best_->step == store_.pending_step();
  store_.commit(best ? std::optional(best_->metric) : std::nullopt);  // [C]
}

}  // namespace muster::trainer
