// detection_head.safetensors: the head's parameters, its HeadConfig as metadata "config".
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "model/head/detection.h"
#include "model/qwen/layers.h"

namespace muster::model {

// The settings a saved head was made with, to create() a Detector that load_head() fits.
HeadConfig read_head_config(const std::filesystem::path& file);

void save_head(const std::filesystem::path& file, const std::vector<NamedParam>& parameters,
               const HeadConfig& config);

// What two heads tell captions apart by: one sentence for each of class names and words of open
// captions that differ. It shapes no tensor, but a head learnt to tell these apart and no others.
std::vector<std::string> differing_words(const HeadConfig& saved, const HeadConfig& wanted);

// Strict: one CheckpointError lists every setting that differs and every missing, unexpected or
// mis-shaped tensor.
void load_head(const std::filesystem::path& file, const std::vector<NamedParam>& parameters,
               const HeadConfig& config);

}  // namespace muster::model
