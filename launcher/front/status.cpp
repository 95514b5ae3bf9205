// muster status RUN_DIR|JOB says how a run is doing; with --follow, until it is over.
#include "launcher/supervise/status.h"

#include <fmt/core.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <chrono>
#include <cstdio>
#include <filesystem>
#include <memory>
#include <thread>

#include "base/error.h"
#include "base/json.h"
#include "launcher/front/command_line.h"
#include "launcher/supervise/status_view.h"

namespace muster::launcher {
namespace {

struct StatusOptions {
  std::string target;
  double every_s = 2;
  bool follow = false;
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

RunStatus ask(const StatusOptions& options) {
  if (!is_job_id(options.target) || std::filesystem::exists(options.target))
    return read_status(options.target);
  const SlurmJob job = job_of(options.target);
  RunStatus status = read_status(job.run_dir());
  status.job = job;
  return status;
}

int terminal_columns() {
  winsize size{};
  const bool known = ::ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0;
  return known ? size.ws_col : 80;
}

// What each look prints: on a terminal the whole status over the one before, else a line where
// something changed.
class Followed {
 public:
  explicit Followed(bool json) : json_(json), in_place_(!json && ::isatty(STDOUT_FILENO) == 1) {}

  void show(const RunStatus& status) {
    const std::string text = text_of(status) + "\n";
    if (in_place_)
      fmt::print("{}{}", rub_out(shown_, terminal_columns()), text);
    else if (text != shown_)
      fmt::print("{}", text);
    std::fflush(stdout);
    shown_ = text;
  }

 private:
  std::string text_of(const RunStatus& status) const {
    if (json_) return parse_json(status_as_json(status)).dump();
    return in_place_ ? status_as_text(status) : status_line(status);
  }

  bool json_;
  bool in_place_;
  std::string shown_;
};

void follow(const StatusOptions& options) {
  Followed followed(options.json);
  for (;;) {
    const RunStatus status = ask(options);
    followed.show(status);
    if (is_over(status)) return;
    std::this_thread::sleep_for(std::chrono::duration<double>(options.every_s));
  }
}

void show_status(const StatusOptions& options) {
  if (options.follow) return follow(options);
  const RunStatus status = ask(options);
  fmt::print("{}\n", options.json ? status_as_json(status) : status_as_text(status));
}

}  // namespace

void add_status(CommandLine& cli) {
  CLI::App& command = add_command(
      cli, "status", "step, loss, time to go, restarts and what each rank does",
      {"muster status runs/demo", "muster status runs/demo --follow", "muster status 4711 --json"});
  const auto options = std::make_shared<StatusOptions>();
  command.add_option("RUN_DIR|JOB", options->target, "a run folder or the number of a SLURM job")
      ->required();
  command.add_flag("--follow", options->follow,
                   "until the run is over: redrawn in place on a terminal, else a line per change");
  command.add_option("--every", options->every_s, "seconds between two looks of --follow")
      ->check(CLI::Range(0.1, 3600.0))
      ->capture_default_str();
  command.add_flag("--json", options->json, "one JSON object on stdout; a line each with --follow");
  command.callback([options] { show_status(*options); });
}

}  // namespace muster::launcher
