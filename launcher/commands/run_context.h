// What commands share: config options on the command line, and the pieces a checkpoint is used
// through.
#pragma once

#include <CLI/CLI.hpp>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "configs/config.h"
#include "data/encoder.h"
#include "data/tokenizer/tokenizer.h"
#include "launcher/rendezvous/rendezvous.h"
#include "model/detector.h"
#include "sharding/collectives/collective.h"

namespace muster::launcher {

// CONFIG and --set, as every command that reads a config takes them.
struct ConfigArguments {
  std::string file;
  std::vector<std::string> overrides;
  void add_to(CLI::App& command);
  configs::Config load() const;
};

// Loads the CUDA library and takes this rank's GPU when run.device is cuda; before the first tensor
// there.
void open_device(const configs::Run& run, int local_rank);

// The collective that sharding.backend names; `self` for a world of one. ConfigError when it cannot
// join this world.
std::shared_ptr<sharding::Collective> make_collective(const configs::Config& config,
                                                      const RankInfo& info);

// A trained detector with everything needed to use it, from CHECKPOINT as a user names it.
struct OpenedCheckpoint {
  // Without a `device` it runs where it was trained.
  explicit OpenedCheckpoint(const std::filesystem::path& named,
                            std::optional<configs::Device> device = {});  // throws CheckpointError
  std::filesystem::path folder;
  configs::Config config;  // as the run resolved it, paths pointing into the folder
  data::Tokenizer tokenizer;
  data::ClassMap classes;
  model::Detector detector;
  data::SampleEncoder encoder;
};

}  // namespace muster::launcher
