// muster manual FOLDER writes man pages, completion scripts and help texts, where a prefix's share
// has them. The build calls it, so that an installed muster brings them along.
#include <fmt/core.h>

#include <CLI/CLI.hpp>
#include <memory>

#include "base/files.h"
#include "base/process/atomic_file.h"
#include "configs/fields.h"
#include "launcher/commands/command_table.h"
#include "launcher/commands/completion_script.h"
#include "launcher/commands/manual_page.h"

namespace muster::launcher {
namespace {

struct ManualOptions {
  std::string folder;
};

// Writes a file below the folder, which need not be there.
void write_below(const fs::path& file, const std::string& text) {
  fs::create_directories(file.parent_path());
  write_text(file, text);
}

void write_manual(const ManualOptions& options, const CLI::App& app) {
  const fs::path share = options.folder;
  write_below(share / "man/man1/muster.1", manual_of_program(app));
  write_below(share / "muster/help/muster.txt", app.help());
  for (const CLI::App* command : app.get_subcommands([](const CLI::App*) { return true; })) {
    const std::string name = command->get_name();
    write_below(share / fmt::format("man/man1/muster-{}.1", name), manual_of_command(*command));
    write_below(share / fmt::format("muster/help/{}.txt", name), command->help("muster"));
  }
  std::vector<std::string> settings;
  for (const configs::Field& field : configs::fields()) settings.push_back(field.name);
  write_below(share / "bash-completion/completions/muster",
              completion_script(app, "bash", settings));
  write_below(share / "zsh/site-functions/_muster", completion_script(app, "zsh", settings));
}

}  // namespace

void add_manual(CommandLine& cli) {
  CLI::App& command =
      add_command(cli, "manual", "write man pages, completions and help texts below a folder",
                  {"muster manual ~/.local/share"});
  const auto options = std::make_shared<ManualOptions>();
  command.add_option("FOLDER", options->folder, "gets man/man1, bash-completion, zsh, muster/help")
      ->required();
  command.callback([options, &cli] { write_manual(*options, cli.app); });
}

}  // namespace muster::launcher
