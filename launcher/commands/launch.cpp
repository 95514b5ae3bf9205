#include <fmt/core.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <cstdlib>
#include <memory>

#include "base/error.h"
#include "base/files.h"
#include "base/log.h"
#include "configs/config.h"
#include "launcher/command_builder.h"
#include "launcher/commands.h"
#include "launcher/conclusion.h"
#include "launcher/container.h"
#include "launcher/preflight.h"
#include "launcher/process_tree.h"
#include "launcher/run_folder.h"
#include "launcher/slurm_job.h"
#include "launcher/supervisor.h"
#include "launcher/world.h"

namespace muster::launcher {
namespace {

struct LaunchOptions {
  std::string config;
  int ranks = 0;
  std::vector<std::string> overrides;
  bool fresh = false;
  std::string starter = "auto", container;
};

log::Level level_of(const std::string& name) {
  if (name == "debug") return log::Level::kDebug;
  if (name == "warn") return log::Level::kWarn;
  return name == "error" ? log::Level::kError : log::Level::kInfo;
}

// Problems of the config are 64, of the data 65, of the machine 69.
void preflight(const configs::Config& config, int ranks) {
  check_world(ranks, config.batch.micro_batches_per_step);
  const auto data = examine_data(config);
  if (any_failed(data)) throw DataError("preflight:\n" + findings_as_text(data, Level::kFail));
  auto findings = examine_machine();
  for (Finding& finding : examine_run(config, ranks)) findings.push_back(std::move(finding));
  if (any_failed(findings)) throw PreflightError("preflight:\n" + findings_as_text(findings, Level::kFail));
  for (const Finding& f : findings) {
    if (f.level == Level::kWarn) log::warn("preflight {}: {}. {}", f.id, f.what, f.fix);
  }
}

// Inside an allocation srun knows the nodes; a step of its own would wait for resources the outer one holds.
Starter choose_starter(const std::string& wanted) {
  const bool batch = std::getenv("SLURM_JOB_ID") != nullptr && std::getenv("SLURM_STEP_ID") == nullptr;
  if (wanted == "srun" || (wanted == "auto" && batch)) return Starter::kSrun;
  const auto version = parse_open_mpi_version(run_captured({"mpirun", "--version"}, std::chrono::seconds(20)).output);
  return version && version->major >= 5 ? Starter::kMpirun5 : Starter::kMpirun4;
}

LaunchSpec make_spec(const LaunchOptions& options, const configs::Config& config) {
  const std::string self = fs::read_symlink("/proc/self/exe").string();
  LaunchSpec spec;
  spec.run_dir = fs::absolute(config.run.dir);
  spec.ranks = options.ranks;
  spec.starter = choose_starter(options.starter);
  spec.starter_program = spec.starter == Starter::kSrun ? "srun" : "mpirun";
  spec.wrapper = {self, "rank-wrap"};
  spec.rank_program = {self, "train", options.config};
  for (const std::string& set : options.overrides) {
    spec.rank_program.push_back("--set");
    spec.rank_program.push_back(set);
  }
  spec.environment = config.launch.environment;
  spec.threads_per_rank = config.run.threads_per_rank;
  spec.in_allocation = std::getenv("SLURM_JOB_ID") != nullptr;
  spec.as_root = ::geteuid() == 0;
  spec.limits = {config.launch.start_timeout_s, config.launch.step_timeout_s, config.launch.checkpoint_timeout_s};
  spec.max_restarts = config.launch.max_restarts;
  if (spec.starter == Starter::kSrun) spread_over_nodes(spec);
  if (!options.container.empty()) enter_container(spec, options.container, config.run.device == "cuda");
  return spec;
}

int launch(const LaunchOptions& options) {
  const configs::Config config = configs::load(options.config, options.overrides);
  const fs::path run_dir = config.run.dir;
  make_run_folder(run_dir);
  log::init({.level = level_of(config.logging.level),
             .file = run_dir / "logs" / "launcher.log",
             .max_bytes = static_cast<std::size_t>(config.logging.max_bytes),
             .console = true,
             .tag = "launcher"});
  preflight(config, options.ranks);
  if (options.fresh) {
    if (const fs::path aside = set_aside(run_dir); !aside.empty()) {
      log::info("--fresh: the earlier run's results are now in {}", aside.string());
    }
  }
  return conclude(run_dir, supervise(make_spec(options, config)).exit_code);
}

}  // namespace

void add_launch(CommandLine& cli) {
  auto options = std::make_shared<LaunchOptions>();
  CLI::App* command =
      cli.app.add_subcommand("launch", "start N ranks, watch them, restart from the last checkpoint when one fails");
  command->add_option("config", options->config, "YAML file")->required();
  command->add_option("-n,--ranks", options->ranks, "how many ranks, over all machines")
      ->required()
      ->check(CLI::PositiveNumber);
  command->add_option("--set", options->overrides, "key.path=value, over what the file says")
      ->allow_extra_args(false)
      ->take_all();
  command->add_flag("--fresh", options->fresh, "move an earlier run's checkpoints and metrics aside and start anew");
  command->add_option("--starter", options->starter, "what starts the ranks; auto: srun in a batch job, else mpirun")
      ->check(CLI::IsMember({"auto", "mpirun", "srun"}))
      ->capture_default_str();
  command->add_option("--container", options->container,
                      "image the ranks run in: an Apptainer file (.sif), or in a SLURM job what pyxis calls --container-image");
  command->callback([&cli, options] { cli.exit_code = launch(*options); });
}

}  // namespace muster::launcher
