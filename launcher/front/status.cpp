// muster status RUN_DIR|JOB says how a run is doing.
#include "launcher/supervise/status.h"

#include <fmt/core.h>

#include <CLI/CLI.hpp>
#include <filesystem>
#include <memory>

#include "base/error.h"
#include "launcher/front/command_line.h"

namespace muster::launcher {
namespace {

struct StatusOptions {
  std::string target;
  bool json = false;
};

SlurmJob job_of(const std::string& id) {
  const JobAnswer answer = ask_for_job(id);
  if (!answer.started)
    throw UsageError(fmt::format(
        "{} looks like a SLURM job, but there is no scontrol here; name the run folder", id));
  if (!answer.job || answer.job->log.empty())
    throw UsageError(
        fmt::format("no such SLURM job: {}", answer.words.substr(0, answer.words.find('\n'))));
  return *answer.job;
}

void show_status(const StatusOptions& options) {
  RunStatus status;
  if (is_job_id(options.target) && !std::filesystem::exists(options.target)) {
    const SlurmJob job = job_of(options.target);
    status = read_status(job.run_dir());
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
