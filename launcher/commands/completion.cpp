// muster completion SHELL prints a completion script to stdout.
#include "launcher/commands/completion_script.h"

#include <fmt/core.h>

#include <CLI/CLI.hpp>
#include <memory>

#include "configs/fields.h"
#include "launcher/commands/command_table.h"

namespace muster::launcher {

namespace {

struct CompletionOptions {
  std::string shell;
};

void print_script(const CompletionOptions& options, const CLI::App& app) {
  std::vector<std::string> settings;
  for (const configs::Field& field : configs::fields()) settings.push_back(field.name);
  fmt::print("{}", completion_script(app, options.shell, settings));
}

}  // namespace

void add_completion(CommandLine& cli) {
  CLI::App& command =
      add_command(cli, "completion", "print a completion script for a shell",
                  {"muster completion bash > ~/.local/share/bash-completion/completions/muster",
                   "source <(muster completion zsh)"});
  const auto options = std::make_shared<CompletionOptions>();
  command.add_option("SHELL", options->shell, "where the words are completed")
      ->required()
      ->check(CLI::IsMember({"bash", "zsh"}));
  command.callback([options, &cli] { print_script(*options, cli.app); });
}

}  // namespace muster::launcher
