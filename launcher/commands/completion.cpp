// muster completion bash|zsh: prints a completion script to stdout.
#include "launcher/commands/completion_script.h"

#include <fmt/core.h>

#include <CLI/CLI.hpp>
#include <memory>

#include "configs/fields.h"
#include "launcher/commands/command_table.h"

namespace muster::launcher {

void add_completion(CommandLine& cli) {
  const auto shell = std::make_shared<std::string>();
  CLI::App* command = cli.app.add_subcommand("completion", "print a completion script for a shell");
  command->add_option("SHELL", *shell)->required()->check(CLI::IsMember({"bash", "zsh"}));
  command->callback([shell, &cli] {
    std::vector<std::string> settings;
    for (const configs::Field& field : configs::fields()) settings.push_back(field.name);
    fmt::print("{}", completion_script(cli.app, *shell, settings));
  });
}

}  // namespace muster::launcher
