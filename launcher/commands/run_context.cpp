#include "launcher/commands/run_context.h"

namespace muster::launcher {

void ConfigArguments::add_to(CLI::App& command) {
  command.add_option("CONFIG", file, "YAML file of the run")->required();
  command.add_option("--set", overrides, "key.path=value, over the file's")
      ->allow_extra_args(false);
}

configs::Config ConfigArguments::load() const { return configs::load(file, overrides); }

}  // namespace muster::launcher
