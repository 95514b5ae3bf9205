// How commands take a config from the command line.
#pragma once

#include <CLI/CLI.hpp>
#include <string>
#include <vector>

#include "configs/config.h"

namespace muster::launcher {

// CONFIG and --set, as every command that reads a config takes them.
struct ConfigArguments {
  std::string file;
  std::vector<std::string> overrides;
  void add_to(CLI::App& command);
  configs::Config load() const;
};

}  // namespace muster::launcher
