// Annotation formats -> samples.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>

#include "data/sources/source.h"

namespace muster::data {

// How numbers of boxes are meant where the format itself does not say.
enum class BoxFrame : std::uint8_t {
  kStored,    // pixels of the stored picture
  kResized,   // pixels of the picture as Qwen's processor resizes it
  kNorm1000,  // 0..1000 of the picture's sides
};

struct ReadOptions {
  std::string format;            // empty: recognised
  std::string split;             // "train", "val", "valid", ...; empty: see docs/data.md
  std::filesystem::path images;  // where pictures are looked for, by path and by name
  bool upright = false;          // pictures that EXIF turns are turned, sizes and boxes with them
  BoxFrame boxes = BoxFrame::kStored;
  // Of the processor that resized, for BoxFrame::kResized.
  std::int64_t min_pixels = 56 * 56, max_pixels = 28 * 28 * 1280, factor = 28;
};

// `path`: a folder or file of any format in docs/data.md. Boxes come out in pixels of the pictures
// as trained on, categories numbered. What no sample can be made of is in the source's faults, all
// of it; DataError is thrown when there is nothing to read at all, UsageError for options that do
// not fit the format.
Source read_source(const std::filesystem::path& path, const ReadOptions& options);
Source read_source(const std::filesystem::path& path, const std::string& format,
                   const std::string& split);

}  // namespace muster::data
