// muster eval prints COCO metrics of CHECKPOINT --data PACK, or of --detections D.json
// --ground-truth G.json.
#include <fmt/core.h>

#include <CLI/CLI.hpp>
#include <memory>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "launcher/commands/checkpoint_arguments.h"
#include "launcher/commands/command_table.h"
#include "trainer/assembly/opened_checkpoint.h"
#include "trainer/evaluate/coco_text.h"
#include "trainer/evaluate/evaluate.h"

namespace muster::launcher {
namespace {

struct EvalOptions {
  std::string checkpoint;
  std::vector<std::string> data;
  std::string detections;
  std::string ground_truth;
  std::string device;
  std::string out;
  std::int64_t max_samples = 0;
  bool json = false;
};

nlohmann::json to_json(const trainer::CocoMetrics& coco) {
  return {{"metrics", coco.metrics}, {"AP_per_category", coco.ap_per_category}};
}

// Those of several packs together, then each by itself.
void print(const trainer::CocoMetrics& coco, const std::vector<trainer::PackResult>& packs,
           bool json) {
  if (json) {
    nlohmann::json all = to_json(coco);
    for (const trainer::PackResult& pack : packs) all["packs"][pack.name] = to_json(pack.coco);
    fmt::print("{}\n", all.dump(1));
    return;
  }
  fmt::print("{}", trainer::metrics_text(coco));
  for (const trainer::PackResult& pack : packs)
    fmt::print("\n{}\n{}", pack.name, trainer::metrics_text(pack.coco));
}

void eval(const EvalOptions& options) {
  if (!options.detections.empty() || !options.ground_truth.empty()) {
    if (options.detections.empty() || options.ground_truth.empty() || !options.checkpoint.empty() ||
        !options.out.empty()) {
      throw UsageError(
          "eval: give CHECKPOINT --data PACK [-o D.json], or --detections D.json --ground-truth "
          "G.json");
    }
    const trainer::CocoGroundTruth truth = trainer::read_ground_truth(options.ground_truth);
    print(trainer::evaluate_coco(truth, trainer::read_detections(options.detections, truth)), {},
          options.json);
    return;
  }
  if (options.checkpoint.empty() || options.data.empty())
    throw UsageError("eval: CHECKPOINT needs --data PACK");
  trainer::OpenedCheckpoint opened(options.checkpoint,
                                   configs::from_name<configs::Device>(options.device));
  const data::SampleSet set = data::open_set({options.data.begin(), options.data.end()});
  const auto self = sharding::make_self();
  const trainer::EvalOptions limits{options.max_samples, opened.config.batch.max_samples};
  const trainer::EvalResult result =
      trainer::evaluate(opened.detector, opened.tokenizer, set, opened.encoder, limits, *self);
  if (!options.out.empty()) trainer::write_detections(options.out, result.boxes);
  print(result.coco, result.packs, options.json);
}

}  // namespace

void add_eval(CommandLine& cli) {
  CLI::App& command =
      add_command(cli, "eval", "COCO metrics of a checkpoint on a pack, or of a detections file",
                  {"muster eval runs/demo --data val.h5 --json",
                   "muster eval runs/demo --data val.h5 -o results.json",
                   "muster eval --detections detections.json --ground-truth annotations.json"});
  const auto options = std::make_shared<EvalOptions>();
  command.add_option("CHECKPOINT", options->checkpoint, kTrainedCheckpointHelp);
  command
      .add_option("--data", options->data,
                  "pack to evaluate on; several, each with its --data, together and by themselves")
      ->allow_extra_args(false);
  command.add_option("--detections", options->detections,
                     "COCO results, or the detections.json of predict");
  command.add_option("--ground-truth", options->ground_truth, "COCO annotations as JSON");
  command.add_option("-o,--out", options->out, "where the detections go, as COCO results");
  command.add_option("--max-samples", options->max_samples,
                     "of each pack, the first so many; 0: all");
  add_device(command, options->device);
  command.add_flag("--json", options->json, "one JSON object on stdout");
  command.callback([options] { eval(*options); });
}

}  // namespace muster::launcher
