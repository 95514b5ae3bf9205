// muster submit CONFIG --nodes N --gpus-per-node G submits the run as a SLURM job.
#include "launcher/supervise/submit.h"

#include <fmt/core.h>

#include <CLI/CLI.hpp>
#include <cstring>
#include <memory>

#include "base/error.h"
#include "base/files.h"
#include "base/process/atomic_file.h"
#include "base/process/spawn.h"
#include "base/source_files.h"
#include "launcher/front/command_line.h"
#include "launcher/front/config_arguments.h"

namespace muster::launcher {
namespace {

struct SubmitOptions {
  ConfigArguments config;
  SubmitSpec spec;
  bool dry_run = false;
};

// sbatch writes to our output; with --parsable that is one line with the job's number.
void run_sbatch(const fs::path& script) {
  Spawn what;
  what.argv = {"sbatch", "--parsable", script.string()};
  const Spawned child = spawn(what);
  const int code = wait_for(child.pid);
  if (child.exec_error != 0)
    throw PreflightError(
        fmt::format("cannot start sbatch: {}. Submit from a login node, or by hand: sbatch {}",
                    std::strerror(child.exec_error), script.string()));
  if (code != 0)
    throw PreflightError(fmt::format(
        "sbatch refused {}: see its message above; the script can be changed and submitted by hand",
        script.string()));
}

// Refuses a run on GPUs that asks for none, and warns of GPUs that would idle.
void check_gpus(const configs::Run& run, const SubmitSpec& spec) {
  if (run.device == configs::Device::kCpu && spec.gpus_per_node > 0)
    fmt::print(stderr,
               "muster: run.device is cpu: the GPUs asked for will idle; --gpus-per-node 0 "
               "--ranks-per-node {} asks for none\n",
               spec.gpus_per_node);
  if (run.device == configs::Device::kCuda && spec.gpus_per_node == 0)
    throw UsageError(
        "submit: --gpus-per-node 0, but run.device is cuda; add --set run.device=cpu for a CPU "
        "run");
}

void submit(SubmitOptions& options) {
  SubmitSpec& spec = options.spec;
  const configs::Config config = options.config.load();
  spec.config = fs::absolute(given_or_shipped(options.config.file)).lexically_normal();
  spec.overrides = options.config.overrides;
  spec.work_dir = fs::current_path();
  spec.run_dir = fs::absolute(config.run.dir).lexically_normal();
  spec.muster = executable_path();
  check_gpus(config.run, spec);
  if (const auto site = find_site_file()) {
    fmt::print(stderr, "muster: what this site asks of every job: {}\n", site->string());
    add_site(spec, read_site(*site));
  }
  if (spec.job_name.empty()) spec.job_name = spec.config.stem().string();
  const std::string script =
      render_sbatch(read_text(find_source_file("slurm/train.sbatch", "MUSTER_SBATCH")), spec);
  if (options.dry_run) {
    fmt::print("{}", script);
    return;
  }
  // SLURM opens its log before anything of ours runs.
  fs::create_directories(spec.run_dir / "logs");
  write_text(spec.run_dir / "train.sbatch", script);
  run_sbatch(spec.run_dir / "train.sbatch");
}

// These options say what the job asks for.
void add_placement(CLI::App& command, SubmitSpec& spec) {
  command.add_option("--nodes", spec.nodes, "how many nodes")->required();
  command.add_option("--gpus-per-node", spec.gpus_per_node, "one rank each; 0 for a CPU run")
      ->required();
  command.add_option("--ranks-per-node", spec.ranks_per_node, "without it one per GPU");
  command.add_option("--min-nodes", spec.min_nodes,
                     "a requeued job may start on as few nodes as this");
  command.add_option("--cpus-per-gpu", spec.cpus_per_gpu,
                     "share nodes with other jobs; without it whole nodes are taken");
  command.add_option("--container", spec.container,
                     "image the ranks run in: an Apptainer file (.sif), or what pyxis calls "
                     "--container-image");
  command.add_option("--module", spec.modules, "environment module to load; may be repeated")
      ->take_all();
}

// These options say how the queue treats the job.
void add_job(CLI::App& command, SubmitSpec& spec) {
  command.add_option("--time", spec.time, "HH:MM:SS; without it the partition's own limit holds");
  command
      .add_option("--grace", spec.grace_s,
                  "seconds before the time limit at which the checkpoint is asked for")
      ->capture_default_str();
  command.add_option(
      "--chain", spec.chain,
      "instead of requeueing one job: so many jobs one after the other, each continuing the run");
  command.add_option("--partition", spec.partition, "without it the site's default");
  command.add_option("--account", spec.account, "who pays; without it the user's default");
  command
      .add_option("--sbatch", spec.sbatch,
                  "a further option of sbatch, as in \"--qos=high\" or \"--mail-type END\"; may be "
                  "repeated")
      ->take_all();
  command.add_option("--job-name", spec.job_name, "without it the config's file name");
}

}  // namespace

void add_submit(CommandLine& cli) {
  CLI::App& command = add_command(
      cli, "submit", "render slurm/train.sbatch for a config and submit it",
      {"muster submit run.yaml --nodes 4 --gpus-per-node 8 --time 12:00:00 --module openmpi/4.1",
       "muster submit run.yaml --nodes 2 --gpus-per-node 8 --min-nodes 1 --container muster.sif "
       "--dry-run",
       "muster submit run.yaml --nodes 1 --gpus-per-node 4 --sbatch \"qos=high\" "
       "--sbatch \"constraint=h100\"",
       "muster submit configs/demo.yaml --nodes 1 --gpus-per-node 0 --ranks-per-node 2"});
  const auto options = std::make_shared<SubmitOptions>();
  SubmitSpec& spec = options->spec;
  spec.grace_s = 120;  // SLURM looks every 30 s: two looks, a step and a checkpoint
  options->config.add_to(command);
  add_placement(command, spec);
  add_job(command, spec);
  command.add_flag("--dry-run", options->dry_run, "print the script and submit nothing");
  command.callback([options] { submit(*options); });
}

}  // namespace muster::launcher
