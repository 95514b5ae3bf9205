// muster-torch has every command. People start `muster`, which becomes this where LibTorch is
// needed.
#include <CLI/CLI.hpp>

#include "base/tensors/tensor_memory.h"
#include "launcher/commands/command_table.h"
#include "launcher/plan/examine_plan.h"
#include "launcher/serve/detector/checkpoint_backend.h"

namespace {

// `muster doctor` asks for all ranks on the machine where it runs.
std::vector<muster::launcher::Finding> examine_on_one_machine(
    const muster::configs::Config& config, const muster::launcher::NodeFacts& facts, int ranks) {
  return muster::launcher::examine_plan(config, facts, ranks, ranks);
}

std::unique_ptr<muster::launcher::DetectBackend> open_on_device(
    const std::filesystem::path& checkpoint, const std::string& device) {
  return muster::launcher::open_backend(
      checkpoint, muster::configs::from_name<muster::configs::Device>(device));
}

}  // namespace

int main(int argc, char** argv) {
  using namespace muster;
  use_tensor_memory();
  CLI::App app{
      "muster: fine-tunes a Qwen-VL-style detector on many GPUs, and explains itself when it fails",
      "muster"};
  app.set_help_flag("-h,--help", launcher::kHelpHelp);
  app.require_subcommand(1);
  launcher::CommandLine cli{app, 0, argc, argv};
  cli.examine_plan = examine_on_one_machine;
  cli.open_detector = open_on_device;
  launcher::add_commands(cli);
  launcher::add_version(cli);
  return launcher::run(cli);
}
