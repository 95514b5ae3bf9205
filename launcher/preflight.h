// Is this machine fit, and does this config fit it? Each finding names a row of DEBUG_DIARY.md and says what to do.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "configs/config.h"

namespace muster::launcher {

enum class Level { kOk, kWarn, kFail };

struct Finding {
  std::string id;  // diary row, "" when none
  Level level = Level::kOk;
  std::string what, fix;
};

std::vector<Finding> examine_machine();
// `ranks` 0: unknown, checks that need it are left out.
std::vector<Finding> examine_run(const configs::Config& config, int ranks);
// Opens the packs. In preflight_data.cpp, so that only commands that read packs link HDF5.
std::vector<Finding> examine_data(const configs::Config& config);

bool any_failed(std::span<const Finding> findings);
std::string findings_as_json(std::span<const Finding> findings);
std::string findings_as_text(std::span<const Finding> findings, Level least);  // one line each

// What the machine offers this process; cgroup limits count.
struct Machine {
  int cores = 1;                  // may be used by this process
  std::int64_t memory_bytes = 0;  // free for it now
  int gpus = 0;
};
Machine this_machine();

}  // namespace muster::launcher
