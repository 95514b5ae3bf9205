#include "launcher/commands/conclusion.h"

#include <fmt/core.h>

#include <csignal>

#include "base/error.h"
#include "base/files.h"
#include "base/log.h"
#include "base/process/atomic_file.h"
#include "launcher/supervise/slurm_job.h"
#include "launcher/supervise/submit.h"
#include "launcher/triage/triage.h"
#include "launcher/triage/verdict_text.h"
#include "trainer/checkpoint/checkpoint.h"
#include "trainer/show/metric_names.h"
#include "trainer/show/metrics.h"
#include "trainer/show/report/run_folder.h"

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

// "AP 0.512, AP50 0.823 at step 2000", of the evaluation at a step; "" when there is none.
std::string metrics_at(const trainer::RunFolder& run, std::int64_t step) {
  for (const auto& row : run.rows) {
    if (row.at(std::string(trainer::metric::kStep)) != static_cast<double>(step)) continue;
    for (const std::string_view family : {trainer::metric::kEval, trainer::metric::kEvalText}) {
      const auto ap = row.find(trainer::metric::name(family, trainer::metric::kAp));
      const auto ap50 = row.find(trainer::metric::name(family, trainer::metric::kAp50));
      if (ap != row.end() && ap50 != row.end())
        return fmt::format("AP {}, AP50 {} at step {}", trainer::measured_text(ap->second),
                           trainer::measured_text(ap50->second), step);
    }
  }
  return "";
}

// The run is done: nothing here may make it look as if it were not.
void tell_achievement(const fs::path& run_dir) {
  try {
    fmt::print(stderr, "{}", achievement(run_dir));
  } catch (const std::exception& error) {
    log::warn("what was achieved cannot be said: {}", error.what());
  }
}

}  // namespace

std::string achievement(const fs::path& run_dir) {
  const fs::path checkpoint = trainer::resolve_checkpoint(run_dir);
  const std::int64_t step = trainer::read_manifest(checkpoint).state.step;
  const trainer::RunFolder run = trainer::read_run_folder(run_dir);
  std::string best = metrics_at(run, step);
  if (best.empty()) {
    const auto loss = trainer::last_of(run.rows, trainer::metric::kLoss);
    best = fmt::format("step {}, never evaluated; last loss {:.4g}", step, loss.value_or(0));
  }
  const std::string folder = shell_quote(run_dir.string());
  const std::string threshold =
      run.evaluation && run.evaluation->all.best.f1() > 0 ? " --threshold best" : "";
  return fmt::format(
      "best   {}\nwhere  {}\nnext   muster report {}; muster predict {} PICTURES -o out{}; muster "
      "export {} -o hf\n",
      best, checkpoint.string(), folder, folder, threshold, folder);
}

int conclude(const fs::path& run_dir, int exit_code) {
  if (!as_asked(exit_code)) explain(run_dir);
  if (exit_code == 0) tell_achievement(run_dir);
  end_chain_if_over(exit_code);
  requeue_if_wanted(exit_code);
  return exit_code;
}

}  // namespace muster::launcher
