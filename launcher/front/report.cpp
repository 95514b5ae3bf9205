// muster report RUN_DIR makes report.html from what lies in the run folder.
#include <fmt/core.h>

#include <CLI/CLI.hpp>
#include <memory>

#include "launcher/front/command_line.h"
#include "trainer/show/report.h"

namespace muster::launcher {
namespace {

struct ReportOptions {
  std::string run_dir;
};

}  // namespace

void add_report(CommandLine& cli) {
  CLI::App& command =
      add_command(cli, "report", "write RUN_DIR/report.html: curves, table, pictures with boxes",
                  {"muster report runs/demo"});
  const auto options = std::make_shared<ReportOptions>();
  command.add_option("RUN_DIR", options->run_dir, "run.dir of the config")
      ->required()
      ->check(CLI::ExistingDirectory);
  command.callback(
      [options] { fmt::print("{}\n", trainer::write_report(options->run_dir).string()); });
}

}  // namespace muster::launcher
