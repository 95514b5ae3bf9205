#include <fmt/core.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <memory>

#include "base/error.h"
#include "configs/config.h"
#include "launcher/commands.h"
#include "launcher/preflight.h"

namespace muster::launcher {
namespace {

struct Options {
  std::string config;
  int ranks = 0;
  bool json = false;
};

int doctor(const Options& options) {
  std::vector<Finding> findings = examine_machine();
  int code = any_failed(findings) ? static_cast<int>(ExitCode::kPreflight) : 0;
  const auto add = [&](std::vector<Finding> more, ExitCode when_failed) {
    if (code == 0 && any_failed(more)) code = static_cast<int>(when_failed);
    for (Finding& finding : more) findings.push_back(std::move(finding));
  };
  if (!options.config.empty()) {
    try {
      const configs::Config config = configs::load(options.config);
      add(examine_run(config, options.ranks), ExitCode::kPreflight);
      add(examine_data(config), ExitCode::kData);
    } catch (const ConfigError& error) {
      add({{"I-004", Level::kFail, error.what(), "see `muster check`"}}, ExitCode::kUsage);
    }
  }
  fmt::print(stderr, "{}", findings_as_text(findings, Level::kOk));
  if (options.json) fmt::print("{}\n", findings_as_json(findings));
  return code;
}

}  // namespace

void add_doctor(CommandLine& cli) {
  auto options = std::make_shared<Options>();
  CLI::App* command = cli.app.add_subcommand("doctor", "is this machine fit to train, and does a config fit it?");
  command->add_option("config", options->config, "YAML file; without it only the machine is examined");
  command->add_option("-n,--ranks", options->ranks, "how many ranks are meant")->check(CLI::PositiveNumber);
  command->add_flag("--json", options->json, "findings as one JSON object on stdout");
  command->callback([&cli, options] { cli.exit_code = doctor(*options); });
}

}  // namespace muster::launcher
