// muster report RUN_DIR makes report.html from what lies in the run folder; of several runs, one
// page that compares them.
#include <fmt/core.h>

#include <CLI/CLI.hpp>
#include <filesystem>
#include <memory>

#include "base/process/atomic_file.h"
#include "launcher/front/command_line.h"
#include "trainer/show/report/comparison.h"
#include "trainer/show/report/report.h"

namespace muster::launcher {
namespace {

struct ReportOptions {
  std::vector<std::string> runs;
  std::string out;
};

std::filesystem::path write_page(const ReportOptions& options) {
  if (options.runs.size() == 1 && options.out.empty())
    return trainer::write_report(options.runs.front());
  const std::filesystem::path page = options.out.empty() ? "comparison.html" : options.out;
  write_text(page, options.runs.size() == 1
                       ? trainer::render_report(options.runs.front())
                       : trainer::render_comparison({options.runs.begin(), options.runs.end()}));
  return page;
}

}  // namespace

void add_report(CommandLine& cli) {
  CLI::App& command =
      add_command(cli, "report",
                  "a page of a run: how good, curves, classes, pictures; of several runs, compared",
                  {"muster report runs/demo", "muster report runs/plain runs/augmented runs/ema",
                   "muster report runs/a runs/b -o a_and_b.html"});
  const auto options = std::make_shared<ReportOptions>();
  command.add_option("RUN_DIR", options->runs, "run.dir of a config; several: one page for all")
      ->required()
      ->check(CLI::ExistingDirectory);
  command.add_option("-o,--out", options->out,
                     "where the page goes; RUN_DIR/report.html or comparison.html when not given");
  command.callback([options] { fmt::print("{}\n", write_page(*options).string()); });
}

}  // namespace muster::launcher
