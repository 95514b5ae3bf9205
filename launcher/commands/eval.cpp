// muster eval prints COCO metrics of CHECKPOINT --data PACK, or of --detections D.json
// --ground-truth G.json. Several ranks share the first.
#include <fmt/core.h>

#include <CLI/CLI.hpp>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>

#include "base/error.h"
#include "base/log.h"
#include "base/process/atomic_file.h"
#include "launcher/commands/checkpoint_arguments.h"
#include "launcher/commands/command_table.h"
#include "launcher/commands/rank_world.h"
#include "trainer/assembly/opened_checkpoint.h"
#include "trainer/evaluate/coco_text.h"
#include "trainer/evaluate/confusion.h"
#include "trainer/evaluation.h"

namespace muster::launcher {
namespace {

struct EvalOptions {
  std::string checkpoint;
  std::vector<std::string> data;
  std::string detections;
  std::string ground_truth;
  std::string device;
  std::string out;
  std::string record;
  std::string from;
  std::optional<std::int64_t> max_answer_tokens;
  std::int64_t max_samples = 0;
  int threads = 0;
  bool loss = false;
  bool json = false;
};

nlohmann::json to_json(const trainer::CocoMetrics& coco) {
  return {{"metrics", coco.metrics}, {"AP_per_category", coco.ap_per_category}};
}

nlohmann::json classes_to_json(const trainer::EvaluationRecord& record) {
  nlohmann::json classes = nlohmann::json::object();
  for (const trainer::ClassRecord& one : record.classes) {
    nlohmann::json entry(one.metrics);
    entry["truths"] = one.curve.truths;
    entry["best_F1"] = one.best.f1();
    entry["best_F1_threshold"] = one.best.threshold;
    classes[one.curve.name] = std::move(entry);
  }
  return classes;
}

void print_json(const trainer::BoxResult* boxes, const trainer::EvaluationRecord& record) {
  nlohmann::json all = nlohmann::json::object();
  if (boxes != nullptr) {
    all = to_json(boxes->coco);
    for (const trainer::PackResult& pack : boxes->packs)
      all["packs"][pack.name] = to_json(pack.coco);
    all["best_F1"] = record.all.best.f1();
    all["best_F1_threshold"] = record.all.best.threshold;
    all["classes"] = classes_to_json(record);
  }
  all["evaluation"] = record.metrics;
  fmt::print("{}\n", all.dump(1));
}

// The metrics of several packs together, then of each by itself.
void print_text(const trainer::BoxResult* boxes, const trainer::EvaluationRecord& record) {
  if (boxes != nullptr)
    fmt::print("{}\n{}", trainer::metrics_text(boxes->coco, /*by_class=*/false),
               trainer::class_table(record));
  if (boxes == nullptr) return;
  for (const trainer::PackResult& pack : boxes->packs)
    fmt::print("\n{}\n{}", pack.name, trainer::metrics_text(pack.coco));
}

void tell(const trainer::Evaluation& evaluation, const EvalOptions& options) {
  const trainer::EvaluationRecord record = trainer::evaluation_record(-1, evaluation);
  const trainer::BoxResult* boxes = evaluation.boxes();
  if (!options.out.empty()) {
    if (boxes == nullptr) throw UsageError("eval: -o wants boxes, and none were asked for");
    trainer::write_detections(options.out, boxes->boxes);
  }
  if (!options.record.empty()) write_text(options.record, trainer::evaluation_to_json(record));
  if (options.json) return print_json(boxes, record);
  print_text(boxes, record);
  for (const std::string& line : trainer::evaluation_lines(evaluation))
    fmt::print(stderr, "{}\n", line);
}

trainer::Evaluation evaluate_files(const EvalOptions& options) {
  if (options.detections.empty() || options.ground_truth.empty() || !options.checkpoint.empty() ||
      !options.out.empty()) {
    throw UsageError(
        "eval: give CHECKPOINT --data PACK [-o D.json], or --detections D.json --ground-truth "
        "G.json");
  }
  const trainer::CocoGroundTruth truth = trainer::read_ground_truth(options.ground_truth);
  const auto detections = trainer::read_detections(options.detections, truth);
  trainer::EvalResult result;
  result.coco = trainer::evaluate_coco(truth, detections);
  result.detections = static_cast<std::int64_t>(detections.size());
  result.class_agnostic_ap50 = trainer::class_agnostic_ap50(truth, detections);
  result.curves = trainer::operating_curves(truth, detections);
  result.confusion =
      trainer::confusion_matrix(truth, detections, result.curves.all.best().threshold);
  return {.head = std::move(result)};
}

// Those that were asked for, else the ones that the run was evaluated on.
std::vector<std::filesystem::path> packs_of(const EvalOptions& options,
                                            const configs::Config& config) {
  if (!options.data.empty()) return {options.data.begin(), options.data.end()};
  const std::vector<std::filesystem::path> packs = configs::pack_files(config.data.val);
  if (packs.empty()) throw UsageError("eval: the run has no data.val: give --data PACK");
  for (const std::filesystem::path& pack : packs) {
    if (!std::filesystem::exists(pack)) {
      throw UsageError(fmt::format("eval: {}, the run's data.val, is not here: give --data PACK",
                                   pack.string()));
    }
  }
  log::info("evaluates on the run's data.val: {}", configs::pack_names(config.data.val));
  return packs;
}

// [C]
trainer::Evaluation evaluate_checkpoint(const EvalOptions& options, RankWorld& world) {
  if (options.checkpoint.empty())
    throw UsageError("eval: give CHECKPOINT, or --detections D.json --ground-truth G.json");
  trainer::OpenedCheckpoint opened(
      options.checkpoint, configs::from_name<configs::Device>(options.device), world.local_rank());
  const data::SampleSet set = data::open_set(packs_of(options, opened.config));
  configs::Eval& eval = opened.config.eval;
  eval.max_samples = options.max_samples;
  eval.from = configs::from_name<configs::EvalFrom>(options.from).value_or(eval.from);
  eval.max_answer_tokens = options.max_answer_tokens.value_or(eval.max_answer_tokens);
  eval.loss = options.loss;
  opened.config.run.threads_per_rank = world.threads(options.threads);  // [C]
  std::optional<trainer::EvalBatches> batches;
  return trainer::evaluate_all(opened.detector, opened.tokenizer, set, opened.encoder,
                               opened.config, world.collective(), batches);  // [C]
}

ExitCode eval(const EvalOptions& options) {
  if (!options.detections.empty() || !options.ground_truth.empty()) {
    tell(evaluate_files(options), options);
    return ExitCode::kDone;
  }
  RankWorld world;  // [C]
  return world.run([&] {
    const trainer::Evaluation evaluation = evaluate_checkpoint(options, world);  // [C]
    if (world.first()) tell(evaluation, options);
    return ExitCode::kDone;
  });
}

void add_what_is_measured(CLI::App& command, EvalOptions& options) {
  command.add_option("--max-samples", options.max_samples,
                     "of each pack, the first so many; 0: all");
  command
      .add_option("--from", options.from,
                  "whose boxes are measured: the head's, those of the language model's answers, or "
                  "both; the config's when not given")
      ->check(CLI::IsMember(configs::names<configs::EvalFrom>()));
  command
      .add_option("--max-answer-tokens", options.max_answer_tokens,
                  "longest answer of the language model; the config's when not given")
      ->check(CLI::PositiveNumber);
  command.add_flag("--loss", options.loss, "also every term of the loss");
}

}  // namespace

void add_eval(CommandLine& cli) {
  CLI::App& command =
      add_command(cli, "eval", "COCO metrics of a checkpoint on a pack, or of a detections file",
                  {"muster eval runs/demo", "muster eval runs/demo --data val.h5 --json",
                   "muster eval runs/demo --data val.h5 -o results.json",
                   "mpirun -n 4 muster eval runs/demo --data val.h5 --from both --loss",
                   "muster eval --detections detections.json --ground-truth annotations.json"});
  const auto options = std::make_shared<EvalOptions>();
  command.add_option("CHECKPOINT", options->checkpoint, kTrainedCheckpointHelp);
  command
      .add_option("--data", options->data,
                  "pack to evaluate on, the run's data.val when not given; several, each with its "
                  "--data, together and by themselves")
      ->allow_extra_args(false);
  command.add_option("--detections", options->detections,
                     "COCO results, or the detections.json of predict");
  command.add_option("--ground-truth", options->ground_truth, "COCO annotations as JSON");
  command.add_option("-o,--out", options->out, "where the detections go, as COCO results");
  command.add_option("--record", options->record,
                     "where all of it goes as evaluation.json: curves, thresholds, confusions");
  add_what_is_measured(command, *options);
  add_device(command, options->device);
  add_threads(command, options->threads);
  command.add_flag("--json", options->json, "one JSON object on stdout");
  command.callback([&cli, options] { cli.exit_code = static_cast<int>(eval(*options)); });
}

}  // namespace muster::launcher
