// What a run tells while it trains: metrics.jsonl, TensorBoard's files, and the lines of the log.
// Rank 0 has one.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <span>

#include "configs/config.h"
#include "sharding/layout/param_registry.h"
#include "trainer/assembly/run_length.h"
#include "trainer/evaluation.h"
#include "trainer/loss_terms.h"
#include "trainer/overfitting.h"
#include "trainer/show/line_feed.h"
#include "trainer/show/metrics.h"
#include "trainer/show/tensorboard.h"
#include "trainer/step_stats.h"

namespace muster::trainer {

class RunLog {
 public:
  // Where this process takes the run up.
  struct Start {
    LengthReport length = {};
    int ranks = 1;
    double peak_tflops = 0;  // of one rank's device; 0: not known
    std::int64_t step = 0, epoch = 0;
    std::int64_t bytes_sent = 0;  // by rank 0's collective, up to here
  };

  // Opens the files in run.dir; lines of steps after `start.step` go. Keeps references to the
  // config, the terms and the registry. Throws IoError.
  RunLog(const configs::Config& config, const LossTerms& terms,
         const sharding::ParamRegistry& registry, const Start& start);

  // Every step has its line in metrics.jsonl; every logging.every_steps one in the log.
  void step(const StepStats& stats);
  // Its line, and evaluation.json with all of it.
  void evaluation(std::int64_t step, const Evaluation& evaluation);
  // Pictures with what is found in them, for TensorBoard.
  bool wants_pictures() const { return tensorboard_.has_value(); }
  void pictures(std::int64_t step, const std::vector<PngPicture>& pictures);

 private:
  using Clock = std::chrono::steady_clock;

  MetricsRow row_of(const StepStats& stats);
  void append_groups(MetricsRow& row, const StepStats& stats) const;
  double tflops(const StepStats& stats) const;
  double mfu(const StepStats& stats) const;
  void say_epoch(const StepStats& stats);
  void say_progress(const StepStats& stats) const;
  void say_length();
  void say_hours(const StepStats& stats) const;
  void write_pr_curves(std::int64_t step, const EvaluationRecord& record);
  void write_row(std::int64_t step, const MetricsRow& row, bool in_tensorboard);

  const configs::Config& config_;
  const LossTerms& terms_;
  const sharding::ParamRegistry& registry_;
  MetricsLog metrics_;
  std::optional<EventWriter> tensorboard_;
  std::optional<LineFeed> feed_;  // of logging.command
  std::int64_t bytes_sent_;       // up to the newest line
  std::int64_t started_step_;
  OverfitWatch overfitting_;
  LengthReport length_;
  double rank_flops_;   // of a training step on each rank, over those of its forward pass on all
  double peak_tflops_;  // of one rank's device; 0: not known
  bool epoch_said_ = false;
  Clock::time_point started_ = Clock::now();
  double measured_s_ = 0;  // of all steps but the first
};

// The rate that the progress line shows: the highest of the groups that train a parameter, in the
// order of the registry's groups. 0 when there is none.
double shown_lr(const sharding::ParamRegistry& registry, std::span<const double> group_lrs);

}  // namespace muster::trainer
