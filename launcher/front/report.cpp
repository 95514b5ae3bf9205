// muster report RUN_DIR: report.html from what lies in the run folder.
#include <fmt/core.h>

#include <CLI/CLI.hpp>
#include <memory>

#include "launcher/front/command_line.h"
#include "trainer/show/report.h"

namespace muster::launcher {

void add_report(CommandLine& cli) {
  const auto run_dir = std::make_shared<std::string>();
  CLI::App* command = cli.app.add_subcommand(
      "report", "write RUN_DIR/report.html: curves, table, pictures with boxes");
  command->add_option("RUN_DIR", *run_dir, "run.dir of the config")
      ->required()
      ->check(CLI::ExistingDirectory);
  command->callback([run_dir] { fmt::print("{}\n", trainer::write_report(*run_dir).string()); });
}

}  // namespace muster::launcher
