#include "launcher/supervise/slurm_job.h"

#include <fmt/core.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdlib>
#include <optional>
#include <utility>

#include "base/error.h"
#include "base/log.h"
#include "base/process/process_tree.h"
#include "base/text.h"

namespace muster::launcher {
namespace {

using namespace std::chrono_literals;

constexpr auto kControlLimit = 60s;  // of one question to slurmctld
constexpr auto kProbeLimit = 20s;

// Failures that another node may not have; the others would only come again.
bool may_be_the_nodes_fault(int exit_code) {
  constexpr std::array kCodes{ExitCode::kPreflight, ExitCode::kRankFailed, ExitCode::kHang,
                              ExitCode::kIo, ExitCode::kDoNotRestart};
  return std::ranges::find(kCodes, static_cast<ExitCode>(exit_code)) != kCodes.end();
}

// Returns the job, or warns why it is not known.
std::optional<SlurmJob> own_job(const char* id) {
  JobAnswer answer = ask_for_job(id);
  if (!answer.job)
    log::warn("scontrol show job {}: {}", id, answer.started ? answer.words : "cannot be started");
  return std::move(answer.job);
}

}  // namespace

void spread_over_nodes(LaunchSpec& spec) {
  const char* text = std::getenv("SLURM_JOB_NUM_NODES");
  const int nodes = text == nullptr ? 0 : std::atoi(text);
  if (spec.placement.ranks_per_node == 0 && nodes > 0 && spec.ranks % nodes == 0)
    spec.placement.ranks_per_node = spec.ranks / nodes;
}

Requeue decide_requeue(const SlurmJob& job, int exit_code,
                       const std::vector<std::string>& lost_nodes) {
  const bool stopped = exit_code == static_cast<int>(ExitCode::kStoppedOnRequest);
  if (!job.batch) return {false, "not a batch job"};
  if (!stopped && (lost_nodes.empty() || !may_be_the_nodes_fault(exit_code)))
    return {false, "nothing to wait for"};
  if (job.state != "RUNNING") return {false, "the job is " + job.state};
  if (!job.may_requeue) return {false, "the job was submitted without --requeue"};
  if (stopped) return {true, "stopped on request with its checkpoint committed"};
  return {true, fmt::format("node {} does not answer (R-007)", join(lost_nodes, ", "))};
}

std::vector<std::string> lost_nodes(const SlurmJob& job) {
  std::vector<std::string> lost;
  const CapturedRun names =
      run_captured({"scontrol", "show", "hostnames", job.nodes}, kControlLimit);
  for (const std::string& node : split(names.output, '\n')) {
    if (node.empty()) continue;
    const CapturedRun probe =
        run_captured({"srun", "--overlap", "--nodes=1", "--ntasks=1", "--mpi=none",
                      "--nodelist=" + node, "--jobid=" + job.id, "true"},
                     kProbeLimit);
    if (probe.exit_code != 0) lost.push_back(node);
  }
  return lost;
}

void requeue_if_wanted(int exit_code) {
  const char* id = std::getenv("SLURM_JOB_ID");
  const bool stopped = exit_code == static_cast<int>(ExitCode::kStoppedOnRequest);
  if (id == nullptr || std::getenv("SLURM_STEP_ID") != nullptr) return;
  if (!stopped && !may_be_the_nodes_fault(exit_code)) return;
  const std::optional<SlurmJob> job = own_job(id);
  if (!job || !job->batch) return;
  const Requeue requeue =
      decide_requeue(*job, exit_code, stopped ? std::vector<std::string>{} : lost_nodes(*job));
  log::info("job {} {}: {}", id, requeue.wanted ? "goes back to the queue" : "ends", requeue.why);
  if (!requeue.wanted) return;
  const CapturedRun answer = run_captured({"scontrol", "requeue", id}, kControlLimit);
  if (answer.exit_code != 0)
    log::error("scontrol requeue {}: {}. By hand: sbatch the same script again", id, answer.output);
}

void end_chain_if_over(int exit_code) {
  const char* chain = std::getenv("MUSTER_CHAIN");
  const bool goes_on = exit_code == static_cast<int>(ExitCode::kStoppedOnRequest);
  if (chain == nullptr || *chain == '\0' || goes_on) return;
  log::info("the run is over (exit code {}): the rest of chain {} is cancelled", exit_code, chain);
  const CapturedRun answer = run_captured({"scancel", "--state=PENDING", chain}, kControlLimit);
  if (answer.exit_code != 0) log::warn("scancel --state=PENDING {}: {}", chain, answer.output);
}

}  // namespace muster::launcher
