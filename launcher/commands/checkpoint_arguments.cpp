#include "launcher/commands/checkpoint_arguments.h"

#include <CLI/CLI.hpp>

#include "configs/choices.h"

namespace muster::launcher {

void add_device(CLI::App& command, std::string& device) {
  command.add_option("--device", device, "where it computes; as in training when not given")
      ->check(CLI::IsMember(configs::names<configs::Device>()));
}

void add_threads(CLI::App& command, int& threads) {
  command
      .add_option("--threads", threads,
                  "batches in the model at a time, each on one thread; on a GPU, threads that "
                  "prepare for it; 0: this process's part of the machine's cores")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str();
}

}  // namespace muster::launcher
