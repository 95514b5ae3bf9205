// What a rank does. train() sequences; train_step() is the science: read that first.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <vector>

#include "base/flight_recorder.h"
#include "configs/config.h"
#include "data/loader.h"
#include "model/detector.h"
#include "sharding/engine.h"
#include "trainer/assembly/run_data.h"
#include "trainer/checkpoint/run_state.h"
#include "trainer/checkpoint_schedule.h"
#include "trainer/health.h"
#include "trainer/loss_terms.h"
#include "trainer/run_log.h"
#include "trainer/step_stats.h"
#include "trainer/step_timer.h"
#include "trainer/step_totals.h"

namespace muster::trainer {

// Objects a rank holds for the whole run, in the order they are built.
class Trainer {
 public:
  // [C] Loads data and model, resumes from the newest whole checkpoint when the config says so.
  Trainer(configs::Config config, std::shared_ptr<sharding::Collective> collective);

  // [C] Runs to schedule.max_steps. Throws StopRequested after a stop signal, with the checkpoint
  // committed; NumericError when health gives up.
  void train();

  // [C] One optimizer step.
  StepStats train_step();

  std::int64_t step() const { return state_.step; }
  model::Detector& detector() { return detector_; }
  sharding::ZeroEngine& engine() { return zero_; }
  // Called after every step; memcheck and tests look through it.
  void set_step_observer(std::function<void(const StepStats&)> observer) {
    step_observer_ = std::move(observer);
  }

 private:
  sharding::ZeroEngine build_engine();  // [C]
  at::Tensor forward(const data::StepBatches& step, std::size_t k, StepTotals& totals);
  StepStats finish_step(const data::StepBatches& step, const sharding::StepVerdict& verdict,
                        const StepTotals::Agreed& agreed, const std::vector<double>& lrs,
                        bool applied);
  std::vector<double> current_lrs() const;
  [[noreturn]] void stop_now();  // [C]
  bool evaluate_now();           // [C] whether the schedule asks to stop early
  std::vector<PngPicture> first_pictures();
  void write_predictions();

  configs::Config config_;
  std::shared_ptr<sharding::Collective> collective_;
  FlightRecorder recorder_;
  StepTimer timer_;
  LossTerms terms_;
  RunData data_;
  model::Detector detector_;
  sharding::ZeroEngine zero_;
  CheckpointSchedule checkpoints_;
  RunState state_;
  Health health_;
  data::Loader loader_;
  std::optional<RunLog> log_;         // first rank
  std::vector<std::int64_t> errors_;  // of the last evaluation, per sample; empty without one
  std::function<void(const StepStats&)> step_observer_;
};

}  // namespace muster::trainer
