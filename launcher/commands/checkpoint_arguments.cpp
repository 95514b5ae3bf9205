#include "launcher/commands/checkpoint_arguments.h"

#include <CLI/CLI.hpp>

#include "configs/choices.h"

namespace muster::launcher {

void add_device(CLI::App& command, std::string& device) {
  command.add_option("--device", device, "where it computes; as in training when not given")
      ->check(CLI::IsMember(configs::names<configs::Device>()));
}

}  // namespace muster::launcher
