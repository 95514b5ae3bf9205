// The kernel's own words about the death of a rank on this machine.
#pragma once

#include <vector>

#include "launcher/triage/record.h"

namespace muster::launcher {

// Returns lines of /dev/kmsg that name the process of a status record among `records`, and NVIDIA
// Xid lines of the time the run took. They are none when the kernel log may not be read, which is
// usual for other than root.
std::vector<Record> read_kernel_log(const std::vector<Record>& records);

}  // namespace muster::launcher
