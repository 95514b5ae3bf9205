// A run's checkpoints: at most one is in flight, and the best evaluation's is marked once it is
// whole.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "configs/config.h"
#include "model/detector.h"
#include "sharding/collectives/collective.h"
#include "sharding/engine.h"
#include "trainer/assembly/run_data.h"
#include "trainer/checkpoint/checkpoint.h"
#include "trainer/checkpoint/files.h"
#include "trainer/checkpoint/resume.h"
#include "trainer/show/evaluation_record.h"
#include "trainer/step_timer.h"

namespace muster::trainer {

// What a checkpoint is made of, and what it is read into. All of it must outlive the schedule.
struct CheckpointParts {
  const configs::Config& config;
  const RunData& data;
  model::Detector& detector;
  sharding::ZeroEngine& engine;
  sharding::Collective& collective;
  StepTimer& timer;
};

class CheckpointSchedule {
 public:
  explicit CheckpointSchedule(const CheckpointParts& parts);

  // [C] Reads what `from` found, or a checkpoint before it where that is damaged; a fresh state
  // when there is none. Throws ConfigError when it was written on other data inside this
  // epoch, or does not fit.
  RunState resume(Resume& from);

  // [C] Copies parameters and state, and writes them, in the background. Finishes the checkpoint
  // before first.
  void begin(const RunState& state) { begin(state, Afterwards::kTrains); }
  // [C] The last one, whole when this returns. Nothing changes while it is written, so that little
  // is copied.
  void write_last(const RunState& state);
  // Blocks until the copies are made. Every rank calls it before the consensus, after which
  // parameters may change.
  void settle();
  // [C] Waits until every rank has written the one in flight, if any, and commits it.
  void finish();

  // This rank's files of the one in flight are on disk. Rethrows what its writer threw.
  bool written() { return store_.written(); }
  // [C] REQUIRES that every rank has written.
  void commit();

  // What the next checkpoints hold as evaluation.json.
  void note_evaluation(const EvaluationRecord& evaluation);
  // An evaluation that beat all before: its step's checkpoint is the best one.
  void note_best(std::int64_t step, double metric) { best_ = Best{step, metric}; }

 private:
  struct Best {
    std::int64_t step = 0;
    double metric = 0;
  };

  // Both throw ConfigError unless the folder was written by a run of this one's kind.
  void check_data(const Resume& from, RunState& state) const;
  void check_base(const Manifest& manifest, const std::filesystem::path& folder) const;
  std::string load(const Resume& from);                      // [C]
  void begin(const RunState& state, Afterwards afterwards);  // [C]

  CheckpointParts my_;
  bool first_rank_;
  CheckpointStore store_;
  std::optional<BaseModel> base_;  // of a LoRA run
  std::optional<Best> best_;       // the newest, until its checkpoint is whole
  std::string evaluation_;         // the newest, as JSON; empty: none
};

}  // namespace muster::trainer
