// What every reader of an annotation format gives.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "data/pack/sample.h"

namespace muster::data {

// Something of the source that cannot be used as it stands.
struct Fault {
  enum class Of : std::uint8_t { kSource, kSample, kBox };  // what is lost when it is left out
  Of of = Of::kSample;
  std::string where;  // "file:line", "file: annotation 7", "picture.jpg"
  std::string what;   // one line: what is wrong and what would be right
};

struct Source {
  std::string format;  // voc | coco | yolo | jsonl
  std::vector<Sample> samples;
  std::vector<Category> categories;
  std::vector<Fault> faults;          // what no sample could be made of, all of them
  std::vector<std::string> warnings;  // used, but worth a look: orphan labels, sizes corrected
};

}  // namespace muster::data
