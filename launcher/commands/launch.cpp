// muster launch CONFIG -n N starts the ranks, watches them and explains the end.
#include <fmt/core.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdlib>
#include <iterator>
#include <memory>

#include "base/error.h"
#include "base/files.h"
#include "base/log.h"
#include "base/process/process_tree.h"
#include "base/source_files.h"
#include "configs/config.h"
#include "launcher/commands/command_table.h"
#include "launcher/commands/conclusion.h"
#include "launcher/commands/epoch_change_flags.h"
#include "launcher/commands/node_preflight.h"
#include "launcher/commands/profile_flag.h"
#include "launcher/front/config_arguments.h"
#include "launcher/plan/examine_plan.h"
#include "launcher/plan/remedies.h"
#include "launcher/rank/console.h"
#include "launcher/rank/run_folder.h"
#include "launcher/rank/world.h"
#include "launcher/runtime/libtorch.h"
#include "launcher/runtime/places.h"
#include "launcher/supervise/command_builder.h"
#include "launcher/supervise/container.h"
#include "launcher/supervise/run_owner.h"
#include "launcher/supervise/slurm_job.h"
#include "launcher/supervise/starter.h"
#include "launcher/supervise/submit.h"
#include "launcher/supervise/supervisor.h"
#include "trainer/assembly/model_check.h"
#include "trainer/assembly/run_data.h"
#include "trainer/checkpoint/manifest/step_folders.h"
#include "trainer/checkpoint/model_folder.h"

namespace muster::launcher {
namespace {

struct LaunchOptions {
  ConfigArguments config;
  EpochChangeFlags epoch;
  ProfileFlag profile;
  int ranks = 0;
  bool fresh = false;
  bool debug = false;
  bool take_over = false;
  std::string starter = "auto";
  std::string colour = "auto";
  std::string hostfile;
  std::string container;
};

std::vector<Finding> examine_here(const configs::Config& config, int ranks) {
  NodeFacts facts = gather_facts();
  gather_run_facts(facts, config);
  std::vector<Finding> all;
  for (auto findings : {judge_machine(facts), judge_run(facts, config, ranks),
                        examine_plan(config, facts, ranks, ranks)})
    std::ranges::move(findings, std::back_inserter(all));
  return all;
}

// Each rank would find the same; known here, it costs no start.
void check_model_files(const configs::Config& config) {
  const model::QwenConfig model = model::read_config(trainer::find_model(config.model));
  trainer::check_model(config, model);
  trainer::checked_tokenizer(config, model);
}

// A problem of the config ends in exit code 64, of the data in 65, of a machine in 69.
void preflight(const LaunchOptions& options, const configs::Config& config,
               const LaunchSpec& spec) {
  check_world(spec.ranks, config.batch.micro_batches_per_step);
  const auto data = examine_data(config);
  if (any_failed(data)) throw DataError("preflight:\n" + findings_as_text(data, Level::kFail));
  check_model_files(config);
  const int nodes = count_nodes(spec, std::getenv("SLURM_JOB_NUM_NODES"));
  std::vector<Finding> findings;
  if (nodes == 1) {
    findings = examine_here(config, spec.ranks);
  } else {
    // What stands before the wrapper leads into the container.
    std::vector<std::string> doctor(spec.wrapper.begin(), spec.wrapper.end() - 1);
    doctor.insert(doctor.end(), {spec.rank_program.front(), "doctor"});
    std::ranges::copy(options.config.words(), std::back_inserter(doctor));
    log::info("preflight on {} nodes", nodes);
    findings = judge_nodes(ask_nodes(spec, nodes, doctor), spec, nodes, config);
  }
  if (any_failed(findings))
    throw PreflightError("preflight:\n" + findings_as_text(findings, Level::kFail));
  for (const Finding& f : findings) {
    if (f.level == Level::kWarn)
      log::warn("preflight {}{}: {}. {}", f.host.empty() ? "" : f.host + " ", f.id, f.what, f.fix);
  }
}

// Inside an allocation srun knows the nodes; a step of its own would wait for resources the outer
// one holds.
Starter choose_starter(const std::string& wanted) {
  const bool batch =
      std::getenv("SLURM_JOB_ID") != nullptr && std::getenv("SLURM_STEP_ID") == nullptr;
  const bool srun = wanted == "srun" || (wanted == "auto" && batch);
  return ask_starter(srun ? "srun" : "mpirun", srun);
}

std::vector<Host> choose_hosts(const LaunchOptions& options, const configs::Launch& config) {
  std::vector<Host> hosts;
  if (options.hostfile.empty())
    std::ranges::transform(config.hosts, std::back_inserter(hosts), parse_host);
  else
    hosts = read_hostfile(options.hostfile);
  return usable_hosts(std::move(hosts), static_cast<int>(config.ranks_per_node), options.ranks);
}

// Rungs that the config's own rules refuse end the ladder.
std::vector<Rung> usable_ladder(const LaunchOptions& options, const configs::Config& config) {
  std::vector<Rung> ladder = oom_ladder(config);
  for (std::size_t i = 0; i < ladder.size(); ++i) {
    ConfigArguments stepped_down = options.config;
    std::ranges::copy(ladder[i].overrides, std::back_inserter(stepped_down.overrides));
    try {
      stepped_down.load();
    } catch (const ConfigError&) {
      ladder.resize(i);
    }
  }
  return ladder;
}

bool in_colour(const LaunchOptions& options) {
  return wants_colour(options.colour, ::isatty(STDERR_FILENO) == 1, std::getenv("NO_COLOR"));
}

Placement choose_placement(const LaunchOptions& options, const configs::Config& config) {
  Placement placement;
  placement.hosts = choose_hosts(options, config.launch);
  placement.ranks_per_node = static_cast<int>(config.launch.ranks_per_node);
  placement.cpu_binding = config.launch.cpu_binding;
  placement.one_gpu = config.run.device == configs::Device::kCuda &&
                      config.launch.gpu_binding == configs::GpuBinding::kLocalRank;
  placement.in_allocation = std::getenv("SLURM_JOB_ID") != nullptr;
  return placement;
}

Watch choose_watch(const LaunchOptions& options, const configs::Launch& config) {
  Watch watch;
  watch.limits = {.start_s = config.start_timeout_s,
                  .step_s = config.step_timeout_s,
                  .checkpoint_s = config.checkpoint_timeout_s};
  watch.colour = in_colour(options);
  return watch;
}

bool boxes_are_local(configs::BlackBox wanted, const LaunchSpec& spec) {
  if (wanted != configs::BlackBox::kAuto) return wanted == configs::BlackBox::kLocal;
  return count_nodes(spec, std::getenv("SLURM_JOB_NUM_NODES")) > 1;
}

Restart choose_restart(const LaunchOptions& options, const configs::Config& config) {
  Restart restart;
  restart.max_restarts = config.launch.max_restarts;
  restart.ladder = usable_ladder(options, config);
  restart.min_ranks = config.launch.min_ranks;
  restart.micro_batches = config.batch.micro_batches_per_step;
  return restart;
}

// What each rank runs, and in which environment.
void add_rank_program(LaunchSpec& spec, const LaunchOptions& options,
                      const configs::Config& config) {
  const fs::path folder = executable_path().parent_path();
  const fs::path wrapper = folder / "muster-rank-wrap";
  if (!fs::exists(wrapper)) {
    throw PreflightError(fmt::format(
        "{} is missing: the two programs are installed together (`./run build` makes both)",
        wrapper.string()));
  }
  spec.wrapper = {wrapper.string()};
  // On each machine `muster` becomes muster-torch with the libraries that are found there.
  spec.rank_program = {(folder / "muster").string(), "train"};
  std::ranges::copy(options.config.words(), std::back_inserter(spec.rank_program));
  std::ranges::copy(options.epoch.words(), std::back_inserter(spec.rank_program));
  std::ranges::copy(options.profile.words(), std::back_inserter(spec.rank_program));
  spec.threads_per_rank = config.run.threads_per_rank;
  spec.environment = config.launch.environment;
  if (const std::string libtorch = environment_value(kFoundVariable); !libtorch.empty())
    spec.environment.try_emplace(kFoundVariable, libtorch);  // all ranks load the same
  if (!options.debug) return;
  for (const char* variable : {"CUDA_LAUNCH_BLOCKING", "TORCH_SHOW_CPP_STACKTRACES"})
    spec.environment[variable] = "1";
  spec.environment["NCCL_DEBUG"] = "INFO";
}

// As somebody would type it. SLURM continues a batch job by itself.
std::string continuing_command(const LaunchOptions& options) {
  if (options.debug || std::getenv("SLURM_JOB_ID") != nullptr) return "";
  std::vector<std::string> words = options.config.words();
  words.insert(words.begin() + 1, {"-n", std::to_string(options.ranks)});
  if (options.starter != "auto") words.insert(words.end(), {"--starter", options.starter});
  if (!options.hostfile.empty()) words.insert(words.end(), {"--hostfile", options.hostfile});
  if (!options.container.empty()) words.insert(words.end(), {"--container", options.container});
  std::string command = "muster launch";
  for (const std::string& word : words) command += " " + shell_quote(word);
  return command;
}

LaunchSpec make_spec(const LaunchOptions& options, const configs::Config& config) {
  LaunchSpec spec;
  spec.run_dir = fs::absolute(config.run.dir);
  spec.ranks = options.ranks;
  spec.as_root = ::geteuid() == 0;
  spec.continue_with = continuing_command(options);
  add_rank_program(spec, options, config);
  spec.starter = choose_starter(options.starter);
  spec.placement = choose_placement(options, config);
  spec.watch = choose_watch(options, config.launch);
  spec.watch.local_boxes = boxes_are_local(config.launch.black_box, spec);
  spec.restart = choose_restart(options, config);
  if (spec.starter.kind == StarterKind::kSrun) spread_over_nodes(spec);
  if (!options.container.empty())
    enter_container(spec, options.container, config.run.device == configs::Device::kCuda);
  return spec;
}

// Row R-003 asks for one step after the newest checkpoint with every kernel launch waited for and
// everything logged. It happens in run.dir/debug, where the checkpoint is only a link: the run
// itself stays as it is.
LaunchOptions debug_options(LaunchOptions options) {
  const fs::path run_dir = fs::absolute(options.config.load().run.dir);
  const fs::path debug_dir = run_dir / "debug";
  const std::int64_t step = newest_checkpoint(run_dir);
  fs::remove_all(debug_dir);
  make_run_folder(debug_dir);
  if (step >= 0) {
    const std::string name = step_folder_name(step);
    fs::create_directory_symlink(run_dir / "checkpoints" / name, debug_dir / "checkpoints" / name);
  }
  for (const std::string& set :
       {"run.dir=" + debug_dir.string(),
        fmt::format("schedule.max_steps={}", std::max<std::int64_t>(step, 0) + 1),
        std::string("logging.level=debug"), std::string("launch.max_restarts=0"),
        std::string("eval.max_samples=1")})
    options.config.overrides.push_back(set);
  return options;
}

int launch(const LaunchOptions& asked) {
  const LaunchOptions options = asked.debug ? debug_options(asked) : asked;
  const configs::Config config = options.config.load();
  const fs::path run_dir = config.run.dir;
  make_run_folder(run_dir);
  const RunOwner owner(fs::absolute(run_dir), {.take_over = options.take_over});
  log::init({.level = config.logging.level,
             .file = run_dir / "logs" / "launcher.log",
             .max_bytes = static_cast<std::size_t>(config.logging.max_bytes),
             .console = true,
             .colour = in_colour(options) ? log::Colour::kAlways : log::Colour::kNever,
             .tag = "launcher"});
  const LaunchSpec spec = make_spec(options, config);
  preflight(options, config, spec);
  if (options.fresh) {
    if (const fs::path aside = set_aside(run_dir); !aside.empty()) {
      log::info("--fresh: the earlier run's results are now in {}", aside.string());
    }
  }
  try {
    return conclude(run_dir, supervise(spec, &owner).exit_code);
  } catch (const IoError& error) {  // of the launcher's own files: the run still is explained
    log::error("{}", error.what());
    return conclude(run_dir, static_cast<int>(error.exit_code()));
  }
}

// These options say how and where the ranks are started.
void add_start(CLI::App& command, LaunchOptions& options) {
  command
      .add_option("--starter", options.starter,
                  "what starts the ranks; auto: srun in a batch job, else mpirun")
      ->check(CLI::IsMember({"auto", "mpirun", "srun"}))
      ->capture_default_str();
  command.add_option("--hostfile", options.hostfile,
                     "hosts in Open MPI's format; instead of launch.hosts");
  command.add_option("--container", options.container,
                     "image the ranks run in: an Apptainer file (.sif), or in a SLURM job what "
                     "pyxis calls --container-image");
}

}  // namespace

void add_launch(CommandLine& cli) {
  CLI::App& command = add_command(
      cli, "launch", "start N ranks, watch them, restart from the last checkpoint when one fails",
      {"muster launch configs/demo.yaml -n 2",
       "muster launch configs/demo.yaml -n 2 --fresh --set schedule.max_steps=100"});
  const auto options = std::make_shared<LaunchOptions>();
  options->config.add_to(command);
  command.add_option("-n,--ranks", options->ranks, "how many ranks, over all machines")
      ->required()
      ->check(CLI::PositiveNumber);
  options->epoch.add_to(command);
  options->profile.add_to(command);
  command.add_flag("--fresh", options->fresh,
                   "move an earlier run's checkpoints and metrics aside and start anew");
  command.add_flag("--take-over", options->take_over,
                   "end another launch that uses the same run.dir, and go on with its run");
  command.add_flag(
      "--debug", options->debug,
      "one step from the newest checkpoint, blocking and with full detail, in run.dir/debug");
  add_start(command, *options);
  command
      .add_option("--color", options->colour,
                  "whether output is coloured; auto: on a terminal without NO_COLOR")
      ->check(CLI::IsMember({"auto", "always", "never"}))
      ->capture_default_str();
  command.callback([&cli, options] { cli.exit_code = launch(*options); });
}

}  // namespace muster::launcher
