#include "launcher/plan/examine_plan.h"

#include <fmt/core.h>

#include <algorithm>

#include "base/error.h"
#include "base/text.h"
#include "launcher/plan/plan.h"
#include "trainer/checkpoint/model_folder.h"

namespace muster::launcher {

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
  if (states > offered) return {{"R-001", Level::kFail, what, fix, facts.host}};
  if (wanted > offered) return {{"R-001", Level::kWarn, what, fix, facts.host}};
  return {{"R-001", Level::kOk, what, "", facts.host}};
}

}  // namespace muster::launcher
