// Everything that an evaluation of a detector measures: the head's boxes, the language model's
// answers, the loss. Training does it between steps, `muster eval` by itself.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "configs/config.h"
#include "data/encoder.h"
#include "data/sample_set.h"
#include "model/detector.h"
#include "sharding/collectives/collective.h"
#include "trainer/evaluate/eval_batches.h"
#include "trainer/evaluate/evaluate.h"
#include "trainer/evaluate/text_answers.h"
#include "trainer/show/evaluation_record.h"
#include "trainer/show/metrics.h"
#include "trainer/validation_loss.h"

namespace muster::trainer {

// What stands for nothing was not asked for, or cannot be measured.
struct Evaluation {
  std::optional<EvalResult> head = std::nullopt;
  std::optional<TextResult> text = std::nullopt;
  std::optional<ValidationLoss> loss = std::nullopt;
  std::vector<std::string> loss_names = {};  // of the terms

  // The boxes that a run is judged by: the head's, else those of the answers; null without any.
  const BoxResult* boxes() const;
};

// [C] As `config`'s sections eval, loss, detection and batch say, on the threads that its section
// run gives (trainer/pass_threads.h). Every rank ends with the same numbers, the same for every
// number of ranks and threads. `kept`, of a caller that evaluates more than once, takes what the
// first evaluation finds out about the set.
Evaluation evaluate_all(model::Detector& detector, const data::Tokenizer& tokenizer,
                        const data::SampleSet& set, const data::SampleEncoder& encoder,
                        const configs::Config& config, sharding::Collective& collective,
                        std::optional<EvalBatches>& kept);

// An evaluation as its line of metrics.jsonl.
MetricsRow evaluation_row(std::int64_t step, const Evaluation& evaluation);
// The names that evaluations with this config have, in the order of their line. `packs`: names of
// data.val's; none for one pack.
std::vector<std::string> evaluation_metrics(const configs::Config& config,
                                            const std::vector<std::string>& packs);
// Throws ConfigError with the nearest name when no evaluation of this config has eval.best_metric.
void check_best_metric(const configs::Config& config, const data::SampleSet& val);
// What eval.best_metric names in it; NaN where there was nothing to measure.
double best_metric_of(const Evaluation& evaluation, const configs::Eval& config);
// The same in a few sentences, for the log.
std::vector<std::string> evaluation_lines(const Evaluation& evaluation);
// The same in full. step -1: of no run's step.
EvaluationRecord evaluation_record(std::int64_t step, const Evaluation& evaluation);

}  // namespace muster::trainer
