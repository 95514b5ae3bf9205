// CHECKPOINT and --device, as every command that uses a checkpoint takes them.
#pragma once

#include <string>

namespace CLI {
class App;
}

namespace muster::launcher {

// Help texts of CHECKPOINT: any checkpoint, or one with a detection head and a config of ours.
constexpr const char* kCheckpointHelp = "step-* folder, run folder or Hugging Face folder";
constexpr const char* kTrainedCheckpointHelp = "step-* folder or run folder";

// Registers --device: "", cpu or cuda. REQUIRES that `device` outlives the parse.
void add_device(CLI::App& command, std::string& device);

}  // namespace muster::launcher
