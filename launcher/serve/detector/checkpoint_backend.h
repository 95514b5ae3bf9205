// A checkpoint, as `muster serve` asks it: pictures go through the same encoder, detector and
// labels as those of `muster predict`, never through text generation (law 13).
#pragma once

#include <filesystem>
#include <memory>
#include <optional>
#include <string>

#include "configs/config.h"
#include "launcher/serve/detect_backend.h"

namespace muster::launcher {

// `named` as predict takes it: a step-* folder or a run folder. The weights are read with the first
// question, so that a run's pages cost no memory of a model that nobody asks. Throws
// CheckpointError when there is no such checkpoint.
std::unique_ptr<DetectBackend> open_backend(const std::filesystem::path& named,
                                            std::optional<configs::Device> device);

}  // namespace muster::launcher
