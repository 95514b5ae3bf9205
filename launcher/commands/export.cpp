// muster export CHECKPOINT -o HF_DIR makes a Hugging Face folder, with the detection head beside
// it.
#include <fmt/core.h>

#include <CLI/CLI.hpp>
#include <map>
#include <memory>

#include "launcher/commands/checkpoint_arguments.h"
#include "launcher/commands/command_table.h"
#include "trainer/assembly/export_folder.h"
#include "trainer/checkpoint/manifest/step_folders.h"

namespace muster::launcher {
namespace {

struct ExportOptions {
  std::string checkpoint;
  std::string out;
  trainer::ExportOptions what;
};

void export_checkpoint(const ExportOptions& options) {
  const std::filesystem::path folder = trainer::resolve_checkpoint(options.checkpoint);
  trainer::export_folder(folder, options.out, options.what);
  fmt::print(stderr, "exported {} to {}\n", folder.string(), options.out);
}

}  // namespace

void add_export(CommandLine& cli) {
  CLI::App& command =
      add_command(cli, "export", "make a Hugging Face folder from a checkpoint",
                  {"muster export runs/demo -o detector-hf --shard-bytes 2000000000",
                   "muster export runs/demo_lora -o merged-hf --merge"});
  const auto options = std::make_shared<ExportOptions>();
  command.add_option("CHECKPOINT", options->checkpoint, kCheckpointHelp)->required();
  command.add_option("-o,--out", options->out, "the folder to make")->required();
  command
      .add_option("--shard-bytes", options->what.shard_bytes,
                  "largest weight file; more than that is split")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  command.add_flag("--merge", options->what.merge,
                   "of a LoRA run: whole weights with the adapters in them; without it the folder "
                   "is one of PEFT's");
  using enum trainer::ExportedWeights;
  command
      .add_option("--weights", options->what.weights,
                  "raw: as the last step left them; ema: their running mean; without it what the "
                  "checkpoint has as its model, which is the mean where the run kept one")
      ->transform(CLI::CheckedTransformer(
          std::map<std::string, trainer::ExportedWeights>{{"raw", kRaw}, {"ema", kEma}}));
  command.callback([options] { export_checkpoint(*options); });
}

}  // namespace muster::launcher
