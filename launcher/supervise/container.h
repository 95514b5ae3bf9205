// Ranks may run inside a container; the launcher stays outside, where srun and scontrol are.
#pragma once

#include <string>

#include "launcher/supervise/launch_spec.h"

namespace muster::launcher {

// Changes the wrapper and rank programs to the container's own (found on its PATH) and adds what
// brings them inside: `apptainer exec` for a .sif file, else pyxis' options of srun. The run folder
// and the current folder are mounted under their own names. REQUIRES: starter, wrapper and
// rank_program are set. Throws UsageError when pyxis is asked for without srun.
void enter_container(LaunchSpec& spec, const std::string& image, bool gpu);

}  // namespace muster::launcher
