// The folders of a run's checkpoints, and which one is meant.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "base/step_folder.h"

namespace muster::trainer {

struct StepFolder {
  std::int64_t step = 0;
  std::filesystem::path path;
};

// What lies in RUN/checkpoints, newest first: by number, not by name. Throws IoError when the
// folder cannot be read.
std::vector<StepFolder> step_folders(const std::filesystem::path& root);

// best.json beside them. A damaged one, or one that points elsewhere, is named and left out
//
std::optional<std::string> best_folder_name(const std::filesystem::path& root);
// The best one and those that were it before, the newest first.
std::vector<std::string> best_folder_names(const std::filesystem::path& root);
// Says that the step is the best so far.
void write_best(const std::filesystem::path& root, std::int64_t step, double metric,
                const std::string& metric_name = "");

// The folder a command line names: a step-* folder, a run folder (its best, else its newest), or a
// Hugging Face folder. The log says which one of a run is taken, and why. Throws CheckpointError.
std::filesystem::path resolve_checkpoint(const std::filesystem::path& named);

}  // namespace muster::trainer
