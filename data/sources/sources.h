// Annotation formats -> samples, every sample validated.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <utility>
#include <vector>

#include "data/sources/source.h"

namespace muster::data {

// `path`: a VOC or YOLO folder, a COCO json, a Qwen-style JSONL. `format` empty: recognised,
// DataError listing what was looked for otherwise. `split`: VOC's ImageSets/Main/<split>.txt or
// YOLO's images/<split>; empty: everything.
Source read_source(const std::filesystem::path& path, const std::string& format,
                   const std::string& split);

// What is wrong with a sample, each with its file, object index and value: missing or corrupt
// image, size mismatch, EXIF orientation != 1, a box that is degenerate, outside the image,
// inverted or normalised. Empty when nothing is.
std::vector<std::string> validate(const Sample& sample);

struct PackReport {
  std::int64_t packed = 0, objects = 0, crowds = 0;
  std::vector<std::pair<std::string, std::int64_t>>
      objects_per_category;           // in the category table's order, zeros included
  std::vector<std::string> left_out;  // names, with the reason
  std::vector<std::string> warnings;  // one class only, empty images, outliers
};
// The `pack` command: reads, validates all samples in parallel with progress, writes. Without
// skip_bad any bad sample is one DataError that lists them all. check_only writes nothing.
// `threads` 0: one per core.
PackReport pack_source(const Source& source, const std::filesystem::path& out, bool skip_bad,
                       bool check_only, int threads = 0);

}  // namespace muster::data
