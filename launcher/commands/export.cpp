// muster export CHECKPOINT -o HF_DIR: a Hugging Face folder, plus the detection head.
#include <fmt/core.h>

#include "base/error.h"
#include "base/files.h"
#include "launcher/commands.h"
#include "launcher/run_context.h"
#include "trainer/checkpoint.h"

namespace muster::launcher {
namespace {

constexpr const char* kFiles[] = {"config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json",
                                  "generation_config.json", "preprocessor_config.json", "detection_head.safetensors",
                                  "class_map.json"};

// A checkpoint's weights are already in the published layout, so exporting is copying what belongs to the model and leaving
// optimizer state behind. Whole or absent: the folder is renamed into place.
void export_checkpoint(const std::string& named, const fs::path& out) {
  const fs::path folder = trainer::resolve_checkpoint(named);
  if (fs::exists(out)) throw UsageError(fmt::format("export: {} exists already; name a new folder", out.string()));
  const fs::path part = out.string() + ".part";
  fs::remove_all(part);
  fs::create_directories(part);
  for (const char* name : kFiles) {
    if (fs::exists(folder / name)) fs::copy_file(folder / name, part / name);
  }
  fs::rename(part, out);
  fmt::print(stderr, "exported {} to {}\n", folder.string(), out.string());
}

}  // namespace

void add_export(CommandLine& cli) {
  CLI::App* command = cli.app.add_subcommand("export", "A Hugging Face folder from a checkpoint");
  auto named = std::make_shared<std::string>();
  auto out = std::make_shared<std::string>();
  command->add_option("CHECKPOINT", *named, "step-* folder or run folder")->required();
  command->add_option("-o,--out", *out, "the folder to make")->required();
  command->callback([named, out] { export_checkpoint(*named, *out); });
}

}  // namespace muster::launcher
