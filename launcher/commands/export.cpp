// muster export CHECKPOINT -o HF_DIR: a Hugging Face folder, plus the detection head.
#include <fmt/core.h>
#include <CLI/CLI.hpp>

#include "launcher/commands/command_table.h"
#include "trainer/assembly/export_folder.h"
#include "trainer/checkpoint/checkpoint.h"

namespace muster::launcher {
namespace {

struct ExportArguments {
  std::string checkpoint, out;
  std::int64_t shard_bytes = 5'000'000'000;
};

void export_checkpoint(const ExportArguments& a) {
  const std::filesystem::path folder = trainer::resolve_checkpoint(a.checkpoint);
  trainer::export_folder(folder, a.out, a.shard_bytes);
  fmt::print(stderr, "exported {} to {}\n", folder.string(), a.out);
}

}  // namespace

void add_export(CommandLine& cli) {
  CLI::App* command = cli.app.add_subcommand("export", "A Hugging Face folder from a checkpoint");
  auto a = std::make_shared<ExportArguments>();
  command
      ->add_option("CHECKPOINT", a->checkpoint, "step-* folder, run folder or Hugging Face folder")
      ->required();
  command->add_option("-o,--out", a->out, "the folder to make")->required();
  command
      ->add_option("--shard-bytes", a->shard_bytes, "largest weight file; more than that is split")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  command->callback([a] { export_checkpoint(*a); });
}

}  // namespace muster::launcher
