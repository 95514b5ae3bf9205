// What happened to a run: its attempts, what the launcher changed, what changed at each resume.
#pragma once

#include <string>

#include "trainer/show/report/run_folder.h"

namespace muster::trainer {

// From launch.json and resumes.jsonl; "" when nothing happened but one attempt that is done.
std::string history_section(const RunFolder& run);
std::int64_t num_restarts(const RunFolder& run);

}  // namespace muster::trainer
