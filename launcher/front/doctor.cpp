// muster doctor [CONFIG] tells whether this machine is fit to train, and whether the config fits
// it.
#include <fmt/core.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <memory>

#include "base/error.h"
#include "base/files.h"
#include "base/process/atomic_file.h"
#include "base/source_files.h"
#include "configs/config.h"
#include "launcher/doctor/judgements.h"
#include "launcher/front/command_line.h"
#include "launcher/front/config_arguments.h"
#include "launcher/runtime/ready.h"

namespace muster::launcher {
namespace {

struct DoctorOptions {
  ConfigArguments config;
  std::string facts_folder;
  int ranks = 0;
  bool json = false;
};

// The launcher asks each node for facts, and judges them itself.
int write_facts(const DoctorOptions& options) {
  if (options.config.file.empty()) throw UsageError("doctor: --facts needs a CONFIG");
  const configs::Config config = options.config.load();
  NodeFacts facts = gather_facts();
  facts.nested = false;  // the launcher started it, on purpose
  gather_run_facts(facts, config);
  facts.packs = pack_facts(config);
  write_text(fs::path(options.facts_folder) / fmt::format("{}-{}.json", facts.host, ::getpid()),
             facts_as_json(facts));
  return 0;
}

// Gathers all findings, and the exit code of the first kind that failed.
struct Examination {
  std::vector<Finding> findings;
  int code = 0;

  void add(std::vector<Finding> more, ExitCode when_failed) {
    if (code == 0 && any_failed(more)) code = static_cast<int>(when_failed);
    for (Finding& finding : more) findings.push_back(std::move(finding));
  }
};

void examine_config(Examination& done, NodeFacts& facts, const DoctorOptions& options,
                    const CommandLine& cli) {
  const configs::Config config = options.config.load();
  gather_run_facts(facts, config);
  done.add(judge_run(facts, config, options.ranks), ExitCode::kPreflight);
  if (options.ranks > 0) {
    done.add({check_division(options.ranks, config.batch.micro_batches_per_step)},
             ExitCode::kUsage);
    if (!any_failed(done.findings))
      done.add(cli.examine_plan(config, facts, options.ranks), ExitCode::kPreflight);
  }
  done.add(examine_data(config), ExitCode::kData);
}

int doctor(const DoctorOptions& options, const CommandLine& cli) {
  const bool has_config = !options.config.file.empty();
  if (has_config && options.ranks > 0 && !cli.has_all()) hand_over(cli.argv);
  // What is examined is what ranks will find, so an installed muster looks with their libraries;
  // it fetches none for that.
  if (!cli.has_all() && installed_prefix() && is_ready()) hand_over(cli.argv);
  if (!options.facts_folder.empty()) return write_facts(options);
  NodeFacts facts = gather_facts();
  Examination done;
  done.add(judge_machine(facts), ExitCode::kPreflight);
  if (has_config) {
    try {
      examine_config(done, facts, options, cli);
    } catch (const ConfigError& error) {
      done.add({fail("I-004", error.what(), "see `muster check`")}, ExitCode::kUsage);
    }
  }
  fmt::print(stderr, "{}", findings_as_text(done.findings, Level::kOk));
  if (options.json) fmt::print("{}\n", findings_as_json(done.findings));
  return done.code;
}

}  // namespace

void add_doctor(CommandLine& cli) {
  CLI::App& command =
      add_command(cli, "doctor", "is this machine fit to train, and does a config fit it?",
                  {"muster doctor", "muster doctor configs/demo.yaml -n 2 --json"});
  const auto options = std::make_shared<DoctorOptions>();
  options->config.add_optional_to(command, "without it only the machine is examined");
  command
      .add_option("--facts", options->facts_folder,
                  "only write what is so on this node to a file in this folder")
      ->group("");
  command.add_option("-n,--ranks", options->ranks, "how many ranks are meant")
      ->check(CLI::PositiveNumber);
  command.add_flag("--json", options->json, "findings as one JSON object on stdout");
  command.callback([&cli, options] { cli.exit_code = doctor(*options, cli); });
}

}  // namespace muster::launcher
