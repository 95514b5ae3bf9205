// What triage says, to people and to scripts.
#pragma once

#include <filesystem>
#include <string>

#include "launcher/triage/triage.h"

namespace muster::launcher {

// `run_dir` is the run's folder, whose config has the lines that a fix is about; for a path that is
// no folder none are shown.
std::string verdict_as_json(const Verdict& verdict, const std::filesystem::path& run_dir);
std::string verdict_as_text(const Verdict& verdict, const std::filesystem::path& run_dir);

}  // namespace muster::launcher
