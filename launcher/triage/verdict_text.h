// What triage says, to people and to scripts.
#pragma once

#include <filesystem>
#include <string>

#include "launcher/triage/triage.h"

namespace muster::launcher {

// `run_dir`: of the run, for the lines of its config that a fix is about; a path that is no folder
// shows none.
std::string verdict_as_json(const Verdict& verdict, const std::filesystem::path& run_dir);
std::string verdict_as_text(const Verdict& verdict, const std::filesystem::path& run_dir);

}  // namespace muster::launcher
