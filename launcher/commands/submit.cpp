// muster submit CONFIG --nodes N --gpus-per-node G: the run as a SLURM job.
#include "launcher/submit.h"

#include <fcntl.h>
#include <fmt/core.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <array>
#include <cstring>
#include <memory>

#include "base/error.h"
#include "base/files.h"
#include "configs/config.h"
#include "launcher/commands.h"
#include "launcher/source_files.h"

namespace muster::launcher {
namespace {

struct Options {
  std::string config;
  SubmitSpec spec;
  bool dry_run = false;
};

// sbatch's own output goes to ours: with --parsable, one line with the job's number.
void run_sbatch(const fs::path& script) {
  std::string name = "sbatch", parsable = "--parsable", file = script.string();
  std::array<char*, 4> argv = {name.data(), parsable.data(), file.data(), nullptr};
  pid_t child = 0;
  if (const int error = ::posix_spawnp(&child, "sbatch", nullptr, nullptr, argv.data(), environ); error != 0)
    throw PreflightError(fmt::format("cannot start sbatch: {}. Submit from a login node, or by hand: sbatch {}",
                                     std::strerror(error), file));
  int status = 0;
  while (::waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
    throw PreflightError(
        fmt::format("sbatch refused {}: see its message above; the script can be changed and submitted by hand", file));
}

void submit(Options& options) {
  SubmitSpec& spec = options.spec;
  const configs::Config config = configs::load(options.config, spec.overrides);
  spec.config = fs::absolute(options.config).lexically_normal();
  spec.work_dir = fs::current_path();
  spec.run_dir = fs::absolute(config.run.dir).lexically_normal();
  spec.muster = executable_path();
  spec.gpu = config.run.device == "cuda";
  if (spec.job_name.empty()) spec.job_name = spec.config.stem().string();
  const std::string script = render_sbatch(read_text(find_source_file("slurm/train.sbatch", "MUSTER_SBATCH")), spec);
  if (options.dry_run) {
    fmt::print("{}", script);
    return;
  }
  fs::create_directories(spec.run_dir / "logs");  // SLURM opens its log before anything of ours runs
  write_text(spec.run_dir / "train.sbatch", script);
  run_sbatch(spec.run_dir / "train.sbatch");
}

}  // namespace

void add_submit(CommandLine& cli) {
  const auto options = std::make_shared<Options>();
  SubmitSpec& spec = options->spec;
  CLI::App* command = cli.app.add_subcommand("submit", "render slurm/train.sbatch for a config and submit it");
  command->add_option("CONFIG", options->config)->required()->check(CLI::ExistingFile);
  command->add_option("--nodes", spec.nodes)->required();
  command->add_option("--gpus-per-node", spec.gpus_per_node, "also the ranks per node")->required();
  command->add_option("--min-nodes", spec.min_nodes, "a requeued job may start on as few nodes as this");
  command->add_option("--cpus-per-gpu", spec.cpus_per_gpu,
                      "share nodes with other jobs; without it whole nodes are taken");
  command->add_option("--time", spec.time, "HH:MM:SS; without it the partition's own limit holds");
  command->add_option("--partition", spec.partition);
  command->add_option("--account", spec.account);
  command->add_option("--job-name", spec.job_name, "without it the config's file name");
  command->add_option("--container", spec.container, "image the ranks run in");
  command->add_option("--module", spec.modules, "environment module to load; may be repeated")->take_all();
  command->add_option("--set", spec.overrides, "key.path=value; may be repeated")->take_all();
  command->add_flag("--dry-run", options->dry_run, "print the script and submit nothing");
  command->callback([options] { submit(*options); });
}

}  // namespace muster::launcher
