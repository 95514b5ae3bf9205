// A deterministic dataset of shapes on textured backgrounds, with captions: the demo's and the
// tests' data.
#pragma once

#include <filesystem>

#include "data/synth/options.h"

namespace muster::data {

// OUT_DIR/{images/*.jpg, annotations.json (COCO, with "caption" per annotation), tokenizer.json,
// tokenizer_config.json}. Labels are {rectangle, ellipse} x {red, green, blue}, e.g. "red ellipse".
// Later shapes lie on top; a shape hidden more than half by later ones is not drawn.
void synthesise(const std::filesystem::path& out_dir, const SynthOptions& options);

}  // namespace muster::data
