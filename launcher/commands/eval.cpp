// muster eval CHECKPOINT --data PACK, or --detections D.json --ground-truth G.json: COCO metrics.
#include <fmt/core.h>
#include <CLI/CLI.hpp>

#include <nlohmann/json.hpp>

#include "base/error.h"
#include "launcher/commands/command_table.h"
#include "trainer/assembly/opened_checkpoint.h"
#include "trainer/evaluate/evaluate.h"

namespace muster::launcher {
namespace {

struct EvalArguments {
  std::string checkpoint, data, detections, ground_truth, device;
  std::int64_t max_samples = 0;
  bool json = false;
};

constexpr const char* kMetrics[] = {"AP",  "AP50", "AP75",  "APs", "APm", "APl",
                                    "AR1", "AR10", "AR100", "ARs", "ARm", "ARl"};

void print(const trainer::CocoMetrics& coco, bool json) {
  if (json) {
    fmt::print(
        "{}\n",
        nlohmann::json{{"metrics", coco.metrics}, {"AP_per_category", coco.ap_per_category}}.dump(
            1));
    return;
  }
  for (const char* name : kMetrics) fmt::print("{:<6} {:.4f}\n", name, coco.metrics.at(name));
  for (const auto& [name, ap] : coco.ap_per_category) fmt::print("AP of {:<20} {:.4f}\n", name, ap);
}

void eval(const EvalArguments& a) {
  if (!a.detections.empty() || !a.ground_truth.empty()) {
    if (a.detections.empty() || a.ground_truth.empty() || !a.checkpoint.empty()) {
      throw UsageError(
          "eval: give CHECKPOINT --data PACK, or --detections D.json --ground-truth G.json");
    }
    print(trainer::evaluate_coco(trainer::read_ground_truth(a.ground_truth),
                                 trainer::read_detections(a.detections)),
          a.json);
    return;
  }
  if (a.checkpoint.empty() || a.data.empty())
    throw UsageError("eval: CHECKPOINT needs --data PACK");
  trainer::OpenedCheckpoint opened(a.checkpoint, configs::from_name<configs::Device>(a.device));
  const data::Pack pack(a.data);
  const auto self = sharding::make_self();
  const trainer::EvalOptions options{a.max_samples, opened.config.batch.max_samples};
  print(trainer::evaluate(opened.detector, opened.tokenizer, pack, opened.encoder, options, *self)
            .coco,
        a.json);
}

}  // namespace

void add_eval(CommandLine& cli) {
  CLI::App* command = cli.app.add_subcommand(
      "eval", "COCO metrics of a checkpoint on a pack, or of a detections file");
  auto a = std::make_shared<EvalArguments>();
  command->add_option("CHECKPOINT", a->checkpoint, "step-* folder or run folder");
  command->add_option("--data", a->data, "pack to evaluate on");
  command->add_option("--detections", a->detections, "COCO results json");
  command->add_option("--ground-truth", a->ground_truth, "COCO annotations json");
  command->add_option("--max-samples", a->max_samples, "the first so many; 0: all");
  command->add_option("--device", a->device, "where it computes; as in training when not given")
      ->check(CLI::IsMember(configs::names<configs::Device>()));
  command->add_flag("--json", a->json, "one JSON object on stdout");
  command->callback([a] { eval(*a); });
}

}  // namespace muster::launcher
