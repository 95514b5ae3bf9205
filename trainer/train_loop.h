// What a rank does. train() sequences; train_step() is the science: read that first.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <vector>

#include "base/flight_recorder.h"
#include "configs/config.h"
#include "data/loader.h"
#include "model/detector.h"
#include "sharding/engine.h"
#include "trainer/assembly/run_data.h"
#include "trainer/assembly/run_length.h"
#include "trainer/checkpoint/manifest/run_state.h"
#include "trainer/checkpoint_schedule.h"
#include "trainer/evaluate/eval_batches.h"
#include "trainer/health.h"
#include "trainer/loss_terms.h"
#include "trainer/profile.h"
#include "trainer/run_log.h"
#include "trainer/step_stats.h"
#include "trainer/step_timer.h"
#include "trainer/step_totals.h"

namespace muster::trainer {

// Objects a rank holds for the whole run, in the order they are built.
class Trainer {
 public:
  // [C] Loads data and model, resumes from the newest whole checkpoint when the config says so.
  // `epoch` says what becomes of an epoch that was begun with values the config has no more. Throws
  // ConfigError when the checkpoint does not fit the config.
  Trainer(configs::Config config, std::shared_ptr<sharding::Collective> collective,
          EpochChange epoch = EpochChange::kRefuse);

  // [C] Runs to the end that schedule says; with EpochChange::kFinish to the end of the epoch, if
  // it has to end with values that the config has no more: another Trainer then continues. Throws
  // StopRequested after a stop signal, with the checkpoint committed; NumericError when health
  // gives up.
  void train();

  // [C] One optimizer step.
  StepStats train_step();

  // What train() looks into; before it runs.
  void set_profile(const ProfiledSteps& steps);

  std::int64_t step() const { return state_.step; }
  // The epoch was finished with the checkpoint's values, and the run is not at its end.
  bool waits_for_new_values() const { return waits_for_new_values_; }
  model::Detector& detector() { return detector_; }
  sharding::ZeroEngine& engine() { return zero_; }
  // Called after every step; memcheck and tests look through it.
  void set_step_observer(std::function<void(const StepStats&)> observer) {
    step_observer_ = std::move(observer);
  }

 private:
  sharding::ZeroEngine build_engine();  // [C]
  at::Tensor forward(const data::StepBatches& step, std::size_t k, StepTotals& totals);
  std::vector<sharding::UpdateNorms> update(const std::vector<double>& lrs,
                                            const sharding::StepVerdict& verdict);  // [C]
  StepStats finish_step(const data::StepBatches& step, const sharding::StepVerdict& verdict,
                        const StepTotals::Agreed& agreed, const std::vector<double>& lrs,
                        bool applied);
  void keep_suspects(const data::StepBatches& step, const sharding::StepVerdict& verdict);
  std::vector<double> current_lrs(std::int64_t steps_in_epoch) const;
  [[noreturn]] void stop_now();  // [C]
  bool head_frozen() const;      // by detection.freeze_epochs
  struct Evaluated {
    bool best = false;  // of the run so far
    bool stop = false;  // the schedule asks to stop early
  };
  Evaluated evaluate_now();  // [C]
  void show_ema();           // [C] the parameters become their running mean, where one is kept
  void hide_ema();           // [C]
  std::vector<PngPicture> first_pictures();
  void write_predictions();
  bool nothing_left() const;  // and says why

  configs::Config config_;
  std::shared_ptr<sharding::Collective> collective_;
  FlightRecorder recorder_;
  StepTimer timer_;
  Resume resume_;  // may change config_
  LossTerms terms_;
  RunData data_;
  RunLength length_;
  model::Detector detector_;
  sharding::ZeroEngine zero_;
  CheckpointSchedule checkpoints_;
  RunState state_;
  Health health_;
  data::Loader loader_;
  std::optional<RunLog> log_;         // first rank
  std::vector<std::int64_t> errors_;  // of the last evaluation, per sample; empty without one
  std::optional<EvalBatches> eval_batches_;  // once an evaluation has needed them
  std::mutex gate_mutex_;                    // evaluation asks for parameters from several threads
  bool waits_for_new_values_ = false;
  std::function<void(const StepStats&)> step_observer_;
  std::optional<Profile> profile_;
};

}  // namespace muster::trainer
