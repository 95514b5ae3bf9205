#include "launcher/commands/run_context.h"

#include <ATen/Parallel.h>
#include <fmt/core.h>

#include <chrono>

#include "base/error.h"
#include "base/files.h"
#include "sharding/cuda_library.h"
#include "trainer/assembly/from_config.h"
#include "trainer/checkpoint/checkpoint.h"

namespace muster::launcher {
namespace {

configs::Config config_of(const fs::path& folder, std::optional<configs::Device> device) {
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
  open_device(config.run, /*local_rank=*/0);
  return config;
}

// What the model is read from, as its manifest says; the optimizer's state is not read here.
fs::path verified(const fs::path& folder) {
  trainer::verify_checkpoint(folder, /*with_optimizer=*/false);
  return folder;
}

data::ClassMap classes_of(const fs::path& folder) {
  return fs::exists(folder / "class_map.json")
             ? data::ClassMap::from_json(read_text(folder / "class_map.json"))
             : data::ClassMap();
}

}  // namespace

void ConfigArguments::add_to(CLI::App& command) {
  command.add_option("CONFIG", file, "YAML file of the run")->required();
  command.add_option("--set", overrides, "key.path=value, over the file's")
      ->allow_extra_args(false);
}

configs::Config ConfigArguments::load() const { return configs::load(file, overrides); }

void open_device(const configs::Run& run, int local_rank) {
  if (run.device == configs::Device::kCuda)
    sharding::load_cuda_library().use_device(local_rank, run.deterministic);
}

static std::unique_ptr<sharding::Collective> connect(const configs::Config& config,
                                                     const RankInfo& info) {
  using enum configs::Backend;
  const configs::Backend backend = config.sharding.backend;
  const std::chrono::duration<double> timeout(config.sharding.timeout_s);
  if (backend == kNccl) {
    return sharding::load_cuda_library().make_nccl(info.store_host, info.store_port, info.rank,
                                                   info.world_size, timeout);
  }
  if (info.world_size == 1) return sharding::make_self();
  if (config.run.device == configs::Device::kCuda) {
    throw ConfigError(fmt::format(
        "sharding.backend {} cannot join {} ranks whose gradients lie on GPUs; use nccl",
        configs::name_of(backend), info.world_size));
  }
  if (backend == kMpi) return sharding::make_node(sharding::make_mpi(timeout), timeout);
  if (backend == kGloo) {
    return sharding::make_gloo(info.store_host, info.store_port, info.rank, info.world_size,
                               timeout);
  }
  throw ConfigError(fmt::format("sharding.backend {} cannot join {} ranks; use mpi, gloo or nccl",
                                configs::name_of(backend), info.world_size));
}

std::shared_ptr<sharding::Collective> make_collective(const configs::Config& config,
                                                      const RankInfo& info) {
  auto collective = connect(config, info);
  return config.sharding.checked ? sharding::make_checked(std::move(collective))
                                 : std::move(collective);
}

OpenedCheckpoint::OpenedCheckpoint(const fs::path& named, std::optional<configs::Device> device)
    : folder(verified(trainer::resolve_checkpoint(named))),
      config(config_of(folder, device)),
      tokenizer(folder),
      classes(classes_of(folder)),
      detector(trainer::load_detector(config, folder, tokenizer)),
      encoder(tokenizer, trainer::encode_options(config, detector.backbone().config())) {
  detector.set_training(false);
}

}  // namespace muster::launcher
