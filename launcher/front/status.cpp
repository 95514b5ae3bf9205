// muster status RUN_DIR|JOB says how a run is doing.
#include "launcher/supervise/status.h"

#include <fmt/core.h>

#include <CLI/CLI.hpp>
#include <chrono>
#include <memory>

#include "base/error.h"
#include "base/process/process_tree.h"
#include "launcher/front/command_line.h"

namespace muster::launcher {
namespace {

struct StatusOptions {
  std::string target;
  bool json = false;
};

JobStatus ask_slurm(const std::string& id) {
  const CapturedRun run = run_captured({"scontrol", "show", "job", id}, std::chrono::seconds(20));
  if (run.exit_code == -1)
    throw UsageError(fmt::format(
        "{} looks like a SLURM job, but there is no scontrol here; name the run folder", id));
  return parse_job_status(run.output);
}

void show_status(const StatusOptions& options) {
  RunStatus status;
  if (is_job_id(options.target) && !std::filesystem::exists(options.target)) {
    const JobStatus job = ask_slurm(options.target);
    status = read_status(job.run_dir);
    status.job = job;
  } else {
    status = read_status(options.target);
  }
  const std::string shown = options.json ? status_as_json(status) : status_as_text(status);
  fmt::print("{}\n", shown);
}

}  // namespace

void add_status(CommandLine& cli) {
  CLI::App& command =
      add_command(cli, "status", "step, loss, time to go, restarts and what each rank does",
                  {"muster status runs/demo", "muster status 4711 --json"});
  const auto options = std::make_shared<StatusOptions>();
  command.add_option("RUN_DIR|JOB", options->target, "a run folder or the number of a SLURM job")
      ->required();
  command.add_flag("--json", options->json, "one JSON object on stdout");
  command.callback([options] { show_status(*options); });
}

}  // namespace muster::launcher
