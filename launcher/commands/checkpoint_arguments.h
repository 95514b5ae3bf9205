// Every command that uses a checkpoint takes CHECKPOINT and --device from here.
#pragma once

#include <string>

namespace CLI {
class App;
}

namespace muster::launcher {

// The first stands where any checkpoint serves, the second where it must be one that muster
// trained.
constexpr const char* kCheckpointHelp = "step-* folder, run folder or Hugging Face folder";
constexpr const char* kTrainedCheckpointHelp = "step-* folder or run folder";

// Registers --device: "", cpu or cuda. REQUIRES that `device` outlives the parse.
void add_device(CLI::App& command, std::string& device);

}  // namespace muster::launcher
