#include "launcher/commands/conclusion.h"

#include <fmt/core.h>

#include <csignal>

#include "base/error.h"
#include "base/files.h"
#include "base/log.h"
#include "base/process/atomic_file.h"
#include "launcher/supervise/slurm_job.h"
#include "launcher/triage/triage.h"
#include "launcher/triage/verdict_text.h"

namespace muster::launcher {
namespace {

// The run is done, or somebody stopped or killed it: there is nothing to explain.
bool as_asked(int exit_code) {
  return exit_code == 0 || exit_code == static_cast<int>(ExitCode::kStoppedOnRequest) ||
         exit_code == 128 + SIGINT;
}

// Nothing that goes wrong here may hide the failure itself.
void explain(const fs::path& run_dir) {
  try {
    const Diary diary = load_diary(find_diary({}));
    const Evidence evidence = gather(run_dir);
    const std::string text = verdict_as_text(triage(evidence, diary), run_dir);
    fmt::print(stderr, "\n{}\n", text);  // first: a full disk may be what is explained
    write_text(run_dir / "logs" / "triage.txt", text);
  } catch (const std::exception& error) {
    log::warn("logs/triage.txt is not whole: {}", error.what());
  }
}

}  // namespace

int conclude(const fs::path& run_dir, int exit_code) {
  if (!as_asked(exit_code)) explain(run_dir);
  end_chain_if_over(exit_code);
  requeue_if_wanted(exit_code);
  return exit_code;
}

}  // namespace muster::launcher
