// A deterministic dataset of shapes on textured backgrounds, with captions: the demo's and the
// tests' data.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <string>

namespace muster::data {

struct SynthOptions {
  std::int64_t images = 0, size = 0, seed = 0;  // size: side in pixels
  std::int64_t min_shapes = 1, max_shapes = 4;
  std::int64_t min_extent = 28,
               max_extent = 70;  // of a shape, pixels; scaled down when size is small
};
// OUT_DIR/{images/*.jpg, annotations.json (COCO, with "caption" per annotation), tokenizer.json,
// tokenizer_config.json}. Labels are {rectangle, ellipse} x {red, green, blue}, e.g. "red ellipse".
// Later shapes lie on top; a shape hidden more than half by later ones is not drawn.
void synthesise(const std::filesystem::path& out_dir, const SynthOptions& options);

// A byte-level tokenizer.json in the published format: 256 bytes, merges for the demo's words,
// Qwen's special tokens by name (ids follow the vocabulary). Returns special token -> id.
std::map<std::string, std::int64_t> write_synth_tokenizer(const std::filesystem::path& dir);

}  // namespace muster::data
