// Drafts a row of the diary for a failure that no row explains.
#pragma once

#include <string>

#include "launcher/triage/triage.h"

namespace muster::launcher {

// Returns one line of Markdown, ready for append_row().
std::string draft_row(const Evidence& evidence, const Verdict& verdict, const Diary& diary);

}  // namespace muster::launcher
