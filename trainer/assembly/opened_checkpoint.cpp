#include "trainer/assembly/opened_checkpoint.h"

#include <ATen/Parallel.h>
#include <fmt/core.h>

#include "base/error.h"
#include "base/files.h"
#include "trainer/assembly/detector.h"
#include "trainer/assembly/device.h"
#include "trainer/assembly/options.h"
#include "trainer/checkpoint/manifest/step_folders.h"
#include "trainer/checkpoint/verify.h"

namespace muster::trainer {
namespace {

configs::Config config_of(const fs::path& folder, std::optional<configs::Device> device,
                          int local_rank) {
  if (!fs::exists(folder / "config.yaml")) {
    throw CheckpointError(fmt::format(
        "{}: no config.yaml; only a checkpoint written by muster knows how its images and "
        "prompts are prepared",
        folder.string()));
  }
  configs::Config config = configs::load(folder / "config.yaml");
  config.model.path = {folder.string()};
  config.tokens.tokenizer = folder.string();
  if (device) config.run.device = *device;
  at::set_num_threads(static_cast<int>(config.run.threads_per_rank));
  open_device(config.run, local_rank);
  return config;
}

// What the model is read from, as its manifest says; the optimizer's state is not read here.
fs::path verified(const fs::path& folder) {
  verify_checkpoint(folder, /*with_optimizer=*/false);
  return folder;
}

data::ClassMap classes_of(const fs::path& folder) {
  return fs::exists(folder / "class_map.json")
             ? data::ClassMap::from_json(read_text(folder / "class_map.json"))
             : data::ClassMap();
}

}  // namespace

OpenedCheckpoint::OpenedCheckpoint(const fs::path& named, std::optional<configs::Device> device,
                                   int local_rank)
    : folder(verified(resolve_checkpoint(named))),
      config(config_of(folder, device, local_rank)),
      tokenizer(folder),
      classes(classes_of(folder)),
      detector(load_detector(config, folder, tokenizer)),
      encoder(tokenizer, encode_options(config, detector.backbone().config())) {
  detector.set_training(false);
}

}  // namespace muster::trainer
