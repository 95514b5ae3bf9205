// A status that is looked at again and again: drawn in place on a terminal, told line by line
// elsewhere.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "launcher/supervise/status.h"

namespace muster::launcher {

// Nothing will change by itself any more.
bool is_over(const RunStatus& status);

// "running, step 120 of 3000, loss 1.234, 3m 07s to go, 1 restarts".
std::string status_line(const RunStatus& status);

// What moves the cursor back over `text`, as a terminal of `columns` shows it, and clears what is
// below.
std::string rub_out(std::string_view text, int columns);

}  // namespace muster::launcher
