#include "launcher/plan/examine_plan.h"

#include <fmt/core.h>

#include <algorithm>

#include "base/error.h"
#include "base/text.h"
#include "launcher/plan/plan.h"
#include "trainer/checkpoint/model_folder.h"

namespace muster::launcher {
namespace {

// Page-locked memory cannot be swapped out: more than there is ends the machine, not the run.
Finding examine_host(const RunPlan& plan, const NodeFacts& facts, int ranks, int ranks_here) {
  const std::int64_t wanted = plan.host_total() * ranks_here;
  const std::string what = fmt::format(
      "{} ranks of {} here want {} of {} of the host's memory (sharding.optimizer_device: cpu, and "
      "a "
      "checkpoint's snapshot)",
      ranks_here, ranks, human_bytes(wanted), human_bytes(facts.memory_bytes));
  if (wanted <= facts.memory_bytes) return {"R-001", Level::kOk, what, "", facts.host};
  return {"R-001", Level::kFail, what,
          "fewer ranks on this machine, optimizer.master: split, or sharding.optimizer_device: "
          "device",
          facts.host};
}

}  // namespace

std::vector<Finding> examine_plan(const configs::Config& config, const NodeFacts& facts, int ranks,
                                  int ranks_here) {
  RunPlan plan;
  try {
    plan = make_plan(config, model::read_config(trainer::find_model(config.model)), ranks);
  } catch (const Error& error) {
    return {{"L-102", Level::kFail, error.what(), "see model.path", facts.host}};
  }
  const bool gpu = config.run.device == configs::Device::kCuda;
  std::int64_t offered = gpu ? 0 : facts.memory_bytes;
  for (const Gpu& g : facts.gpus) {
    if (gpu && (offered == 0 || g.total_bytes < offered)) offered = g.total_bytes;
  }
  if (offered == 0) return {};  // GPUs of unknown size
  const int sharers = gpu ? 1 : std::max(ranks_here, 1);
  const std::int64_t wanted = plan.total() * sharers;
  const std::int64_t states = wanted - plan.activations.total() * sharers;
  const std::string what =
      fmt::format("{} ranks of {} here want {} of {} {}, activations estimated", sharers, ranks,
                  human_bytes(wanted), human_bytes(offered), gpu ? "on a GPU" : "of memory");
  const std::string fix = "`muster plan CONFIG` shows who holds what and what to change";
  std::vector<Finding> findings;
  if (states > offered)
    findings.push_back({"R-001", Level::kFail, what, fix, facts.host});
  else if (wanted > offered)
    findings.push_back({"R-001", Level::kWarn, what, fix, facts.host});
  else
    findings.push_back({"R-001", Level::kOk, what, "", facts.host});
  if (plan.memory.bytes.host.total() > 0)
    findings.push_back(examine_host(plan, facts, ranks, std::max(ranks_here, 1)));
  return findings;
}

}  // namespace muster::launcher
