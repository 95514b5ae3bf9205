#include "launcher/serve/run_changes.h"

#include <fmt/core.h>
#include <signal.h>
#include <sys/types.h>

#include <limits>
#include <nlohmann/json.hpp>
#include <system_error>

#include "base/clock.h"
#include "base/error.h"
#include "base/files.h"
#include "base/source_files.h"
#include "launcher/rank/side_file.h"

namespace muster::launcher {
namespace {

// Process numbers are used again: what the record names must still be a program of ours.
bool is_muster(std::int64_t pid) {
  std::error_code error;
  const fs::path program = fs::read_symlink(fmt::format("/proc/{}/exe", pid), error);
  return !error && program.parent_path() == executable_path().parent_path() &&
         program.filename().string().starts_with("muster");
}

}  // namespace

std::string ask_to_stop(const fs::path& run) {
  const nlohmann::json record = read_side_file(run / "launch.json");
  const std::string host = short_text(record, "host");
  const std::int64_t pid = whole_number(record, "pid", 0, 2, std::numeric_limits<int>::max());
  if (host != own_host())
    throw UsageError(fmt::format(
        "the run's launcher is on {}, not here; stop it there, or with scancel --signal=USR2",
        host.empty() ? "no known host" : host));
  if (pid == 0 || !is_muster(pid) || ::kill(static_cast<pid_t>(pid), SIGUSR2) != 0)
    throw UsageError("no launcher of this run is running here");
  return fmt::format("launcher {} was asked to checkpoint at the next step and leave", pid);
}

}  // namespace muster::launcher
