// How a source is to be read.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>

namespace muster::data {

// How numbers of boxes are meant where the format itself does not say.
enum class BoxFrame : std::uint8_t {
  kStored,    // pixels of the stored picture
  kResized,   // pixels of the picture as Qwen's processor resizes it
  kNorm1000,  // 0..1000 of the picture's sides
};

struct ReadOptions {
  std::string format;             // empty: recognised
  std::string split;              // "train", "val", "valid", ...; empty: see docs/data.md
  std::filesystem::path images;   // where pictures are looked for, by path and by name
  std::filesystem::path scratch;  // holds what memory does not; empty: the system's (TMPDIR)
  int threads = 0;                // 0: one per core
  bool upright = false;           // pictures that EXIF turns are turned, sizes and boxes with them
  BoxFrame boxes = BoxFrame::kStored;
  // Of the processor that resized, for BoxFrame::kResized.
  std::int64_t min_pixels = 56 * 56, max_pixels = 28 * 28 * 1280, factor = 28;
};

}  // namespace muster::data
