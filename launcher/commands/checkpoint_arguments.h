// Every command that uses a checkpoint takes CHECKPOINT, --device and --threads from here.
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
// Registers --threads of those whose work several threads share: 0 or more. REQUIRES likewise.
void add_threads(CLI::App& command, int& threads);

}  // namespace muster::launcher
