// Every command that reads a config takes CONFIG and --set from here.
#pragma once

#include <string>
#include <vector>

#include "configs/config.h"

namespace CLI {
class App;
}

namespace muster::launcher {

struct ConfigArguments {
  std::string file;  // "" when CONFIG is optional and not given
  std::vector<std::string> overrides;

  // Both register CONFIG as the next positional, and --set. REQUIRES that this object outlives the
  // parse.
  void add_to(CLI::App& command);
  void add_optional_to(CLI::App& command, const std::string& when_absent);

  configs::Config load() const;  // throws ConfigError

  // Returns the words that give another process the same config: {file, "--set", "a=b", ...}.
  std::vector<std::string> words() const;
};

}  // namespace muster::launcher
