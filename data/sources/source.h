// What every reader of an annotation format gives.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "data/pack/sample.h"
#include "data/sources/sample_store.h"

namespace muster::data {

// Something of the source that cannot be used as it stands.
struct Fault {
  enum class Of : std::uint8_t { kSource, kSample, kBox };  // what is lost when it is left out
  Of of = Of::kSample;
  std::string where;         // "file:line", "file: annotation 7", "picture.jpg"
  std::string what;          // one line: what is wrong and what would be right
  std::int64_t sample = -1;  // its place in Source::samples; -1: no sample could be made of it

  std::string text() const { return where + ": " + what; }
};

struct Source {
  std::string format;  // voc | coco | yolo | jsonl | cvat | label-studio
  SampleStore samples;
  std::vector<Category> categories;
  std::vector<Fault> faults = {};          // all of them, also those of samples that are there
  std::vector<std::string> warnings = {};  // used, but worth a look: orphan labels, sizes corrected
  std::vector<std::string> repaired = {};  // what an option or the picture itself put right
  bool pixels = true;  // the boxes are numbers of pixels in the source, not shares of the picture
};

}  // namespace muster::data
