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
  std::string what = {};
  std::string fix = {};   // "" when nothing has to be done
  std::string host = {};  // "": this machine, or all of them
};

Finding ok(std::string id, std::string what);
Finding warn(std::string id, std::string what, std::string fix);
Finding fail(std::string id, std::string what, std::string fix);

// Judgements of facts; pure.
std::vector<Finding> judge_machine(const NodeFacts& facts);
// `ranks_here`: of the run on that machine; 0: unknown, checks that need it are left out.
std::vector<Finding> judge_run(const NodeFacts& facts, const configs::Config& config,
                               int ranks_here);
// Can a CPU take the products that this config asks of it?
Finding judge_products(const configs::Config& config, bool bf16_products);
// What must be equal on all nodes of a run: programs, libraries, driver, config, packs, GPUs. The
// odd ones out are named.
std::vector<Finding> judge_equality(std::span<const NodeFacts> nodes);
// By how much the nodes' clocks differ from ours: each was looked at between these two times.
Finding judge_clocks(std::span<const NodeFacts> nodes, double asked_unix, double answered_unix);

// Can so many ranks share a step evenly?
Finding check_division(int ranks, std::int64_t micro_batches_per_step);
// Opens the packs.
std::vector<Finding> examine_data(const configs::Config& config);
bool any_failed(std::span<const Finding> findings);
std::string findings_as_json(std::span<const Finding> findings);
std::string findings_as_text(std::span<const Finding> findings, Level least);  // one line each

}  // namespace muster::launcher
