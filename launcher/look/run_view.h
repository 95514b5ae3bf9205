// A run, looked at: what it predicts beside the truth of data.val, worst pictures first.
#pragma once

#include <filesystem>

#include "launcher/look/view.h"

namespace muster::launcher {

// `run` is a run folder, or a checkpoint in one. Predictions are those that the run left in
// predictions/detections.json where they cover the samples that are asked for; else its checkpoint
// makes them. Throws UsageError when the run has no data.val.
View look_at_run(const std::filesystem::path& run, const LookOptions& options);

}  // namespace muster::launcher
