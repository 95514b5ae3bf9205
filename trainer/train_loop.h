// What a rank does. train() sequences; train_step() is the science: read that first.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/flight_recorder.h"
#include "configs/config.h"
#include "data/loader.h"
#include "model/detector.h"
#include "sharding/engine.h"
#include "trainer/assembly/run_data.h"
#include "trainer/checkpoint/checkpoint.h"
#include "trainer/evaluate/evaluate.h"
#include "trainer/health.h"
#include "trainer/loss_terms.h"
#include "trainer/schedule.h"
#include "trainer/show/metrics.h"
#include "trainer/show/tensorboard.h"
#include "trainer/step_timer.h"

namespace muster::trainer {

// What one optimizer step left behind, the same on every rank except for seconds and memory.
struct StepStats {
  std::int64_t step = 0, epoch = 0;
  bool applied = false;
  bool scale_too_high = false;  // skipped, and only the loss scale is to blame
  double loss_scale = 1;        // of fp16
  LossTerms::Report loss;
  double grad_norm = 0;
  std::vector<double> group_norms, group_lrs;
  std::int64_t tokens = 0, images = 0;
  double seconds = 0;
  std::int64_t wire_bytes =
      0;  // sent by this rank since the step before: its gradients, and the parameters before them
  std::int64_t memory_bytes = 0;  // the largest resident set over ranks
  StepTimer::Seconds phases;
  bool stop = false, last_in_epoch = false;
};

// Objects a rank holds for the whole run, in the order they are built.
class Trainer {
 public:
  // [C] Loads data and model, resumes from the newest whole checkpoint when the config says so.
  Trainer(configs::Config config, std::shared_ptr<sharding::Collective> collective);
  ~Trainer();

  // [C] Runs to schedule.max_steps. Throws StopRequested after a stop signal, with the checkpoint
  // committed; NumericError when health gives up.
  void train();

  // [C] One optimizer step.
  StepStats train_step();

  std::int64_t step() const { return state_.step; }
  model::Detector& detector() { return detector_; }
  sharding::ZeroEngine& engine() { return *zero_; }
  // Called after every step; memcheck and tests look through it.
  void set_step_observer(std::function<void(const StepStats&)> observer) {
    step_observer_ = std::move(observer);
  }

 private:
  double lr_scale() const;
  std::vector<double> current_lrs() const;
  void resume();  // [C]
  void begin_checkpoint();
  void finish_checkpoint();  // [C] waits for every rank, then commits
  void commit_checkpoint();
  [[noreturn]] void stop_now();  // [C]
  void evaluate_now();           // [C]
  void log_step(const StepStats& stats);
  void write_predictions();

  configs::Config config_;
  std::shared_ptr<sharding::Collective> collective_;
  bool first_rank_;
  FlightRecorder recorder_;
  LossTerms terms_;
  std::unique_ptr<RunData> data_;
  model::Detector detector_;
  std::unique_ptr<sharding::ZeroEngine> zero_;
  std::int64_t bytes_sent_ = 0;  // by the collective, up to the last step
  Health health_;
  CheckpointStore store_;
  RunState state_;
  std::unique_ptr<data::Loader> loader_;
  std::optional<MetricsLog> metrics_;       // first rank
  std::optional<EventWriter> tensorboard_;  // first rank
  StepTimer timer_;
  std::function<void(const StepStats&)> step_observer_;
  struct Best {
    std::int64_t step = 0;
    double metric = 0;
  };
  std::optional<Best>
      best_;  // the newest evaluation that beat all before, until its checkpoint is whole
  bool early_stop_ = false;
  double started_ = 0;
  std::int64_t started_step_ = 0;
};

}  // namespace muster::trainer
