// muster params CHECKPOINT lists which learning-rate group takes which parameter.
#include <fmt/core.h>

#include <CLI/CLI.hpp>
#include <map>
#include <memory>

#include "base/error.h"
#include "configs/groups.h"
#include "launcher/commands/checkpoint_arguments.h"
#include "launcher/commands/command_table.h"
#include "model/adapters/peft_folder.h"
#include "model/files/safetensors_reader.h"
#include "trainer/checkpoint/manifest/step_folders.h"

namespace muster::launcher {
namespace {

struct ParamsOptions {
  std::string checkpoint;
};

std::string shape_text(const std::vector<std::int64_t>& shape) {
  std::string text;
  for (const std::int64_t n : shape) text += (text.empty() ? "" : " x ") + std::to_string(n);
  return text;
}

struct GroupSum {
  std::int64_t tensors = 0;
  std::int64_t elements = 0;
};

void list_file(const std::filesystem::path& file, std::map<std::string, GroupSum>& sums,
               std::vector<std::string>& stray) {
  const model::SafetensorsReader reader(file);
  for (const std::string& raw : reader.names()) {
    const std::string name = model::adapter_parameter(raw);
    const configs::GroupEntry* entry = configs::group_of(name);
    const std::vector<std::int64_t> shape = reader.shape(raw);
    const std::string group(entry == nullptr ? "(none)" : entry->name);
    if (entry == nullptr) stray.push_back(raw);
    std::int64_t elements = 1;
    for (const std::int64_t n : shape) elements *= n;
    ++sums[group].tensors;
    sums[group].elements += elements;
    fmt::print("{:<15} {:<60} {}\n", group, raw, shape_text(shape));
  }
}

// A LoRA run's folder has adapters alone.
std::filesystem::path weights_of(const std::filesystem::path& folder) {
  if (model::is_adapter_folder(folder)) return folder / model::kAdapterFile;
  const auto index = folder / "model.safetensors.index.json";
  return std::filesystem::exists(index) ? index : folder / "model.safetensors";
}

void params(const ParamsOptions& options) {
  const auto folder = trainer::resolve_checkpoint(options.checkpoint);
  std::map<std::string, GroupSum> sums;
  std::vector<std::string> stray;
  list_file(weights_of(folder), sums, stray);
  const auto head = folder / "detection_head.safetensors";
  if (std::filesystem::exists(head)) list_file(head, sums, stray);
  fmt::print("\n{:<15} {:>8} {:>16}\n", "group", "tensors", "elements");
  for (const auto& [group, sum] : sums)
    fmt::print("{:<15} {:>8} {:>16}\n", group, sum.tensors, sum.elements);
  if (model::is_adapter_folder(folder)) {
    fmt::print("\nadapters, trained beside the frozen weights of {}\n",
               model::read_adapter(folder).base_model);
  }
  if (!stray.empty()) {
    throw ConfigError(fmt::format(
        "{} parameters belong to no learning-rate group, the first is {}: training would refuse "
        "to start",
        stray.size(), stray.front()));
  }
}

}  // namespace

void add_params(CommandLine& cli) {
  CLI::App& command =
      add_command(cli, "params", "parameter -> learning-rate group table of a checkpoint",
                  {"muster params runs/demo"});
  const auto options = std::make_shared<ParamsOptions>();
  command.add_option("CHECKPOINT", options->checkpoint, kCheckpointHelp)->required();
  command.callback([options] { params(*options); });
}

}  // namespace muster::launcher
