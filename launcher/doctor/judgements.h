// Are the machines fit, and does this config fit them? Each finding names a row of DEBUG_DIARY.md
// and says what to do.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "configs/config.h"
#include "launcher/doctor/node_facts.h"

namespace muster::launcher {

enum class Level { kOk, kWarn, kFail };

struct Finding {
  std::string id;  // diary row, "" when none
  Level level = Level::kOk;
  std::string what, fix;
  std::string host;  // "": this machine, or all of them
};

// Judgements of facts; pure.
std::vector<Finding> judge_machine(const NodeFacts& facts);
// `ranks_here`: of the run on that machine; 0: unknown, checks that need it are left out.
std::vector<Finding> judge_run(const NodeFacts& facts, const configs::Config& config,
                               int ranks_here);
// What must be equal on all nodes of a run: programs, libraries, driver, config, packs, GPUs. The
// odd ones out are named.
std::vector<Finding> judge_equality(std::span<const NodeFacts> nodes);

// Of this machine, by the judgements above.
std::vector<Finding> examine_machine();
std::vector<Finding> examine_run(const configs::Config& config, int ranks_here);
Finding check_division(int ranks, std::int64_t micro_batches_per_step);
// Opens the packs.
std::vector<Finding> examine_data(const configs::Config& config);
bool any_failed(std::span<const Finding> findings);
std::string findings_as_json(std::span<const Finding> findings);
std::string findings_as_text(std::span<const Finding> findings, Level least);  // one line each

}  // namespace muster::launcher
