#include <fmt/core.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <memory>

#include "base/error.h"
#include "base/files.h"
#include "base/process/atomic_file.h"
#include "configs/config.h"
#include "launcher/doctor/judgements.h"
#include "launcher/front/command_line.h"

namespace muster::launcher {
namespace {

struct DoctorOptions {
  std::string config, facts_folder;
  std::vector<std::string> overrides;
  int ranks = 0;
  bool json = false;
};

// One node's answer to the launcher: facts, no judgement.
int write_facts(const DoctorOptions& options) {
  const configs::Config config = configs::load(options.config, options.overrides);
  NodeFacts facts = gather_facts();
  facts.nested = false;  // the launcher started it, on purpose
  gather_run_facts(facts, config);
  facts.packs = pack_facts(config);
  write_text(fs::path(options.facts_folder) / fmt::format("{}-{}.json", facts.host, ::getpid()),
             facts_as_json(facts));
  return 0;
}

int doctor(const DoctorOptions& options, const CommandLine& cli) {
  if (!options.config.empty() && options.ranks > 0 && !cli.examine_plan) hand_over(cli.argv);
  if (!options.facts_folder.empty()) return write_facts(options);
  NodeFacts facts = gather_facts();
  std::vector<Finding> findings = judge_machine(facts);
  int code = any_failed(findings) ? static_cast<int>(ExitCode::kPreflight) : 0;
  const auto add = [&](std::vector<Finding> more, ExitCode when_failed) {
    if (code == 0 && any_failed(more)) code = static_cast<int>(when_failed);
    for (Finding& finding : more) findings.push_back(std::move(finding));
  };
  if (!options.config.empty()) {
    try {
      const configs::Config config = configs::load(options.config, options.overrides);
      gather_run_facts(facts, config);
      add(judge_run(facts, config, options.ranks), ExitCode::kPreflight);
      if (options.ranks > 0) {
        add({check_division(options.ranks, config.batch.micro_batches_per_step)}, ExitCode::kUsage);
        if (!any_failed(findings))
          add(cli.examine_plan(config, facts, options.ranks), ExitCode::kPreflight);
      }
      add(examine_data(config), ExitCode::kData);
    } catch (const ConfigError& error) {
      add({{"I-004", Level::kFail, error.what(), "see `muster check`", ""}}, ExitCode::kUsage);
    }
  }
  fmt::print(stderr, "{}", findings_as_text(findings, Level::kOk));
  if (options.json) fmt::print("{}\n", findings_as_json(findings));
  return code;
}

}  // namespace

void add_doctor(CommandLine& cli) {
  auto options = std::make_shared<DoctorOptions>();
  CLI::App* command =
      cli.app.add_subcommand("doctor", "is this machine fit to train, and does a config fit it?");
  command->add_option("config", options->config,
                      "YAML file; without it only the machine is examined");
  command->add_option("--set", options->overrides, "key.path=value, over what the file says")
      ->allow_extra_args(false)
      ->take_all();
  command
      ->add_option("--facts", options->facts_folder,
                   "only write what is so on this node to a file in this folder")
      ->group("")
      ->needs("config");
  command->add_option("-n,--ranks", options->ranks, "how many ranks are meant")
      ->check(CLI::PositiveNumber);
  command->add_flag("--json", options->json, "findings as one JSON object on stdout");
  command->callback([&cli, options] { cli.exit_code = doctor(*options, cli); });
}

}  // namespace muster::launcher
