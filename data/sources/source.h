// What every reader of an annotation format gives.
#pragma once

#include <string>
#include <vector>

#include "data/pack/sample.h"

namespace muster::data {

struct Source {
  std::string format;  // voc | coco | yolo | jsonl
  std::vector<Sample> samples;
  std::vector<Category> categories;
};

}  // namespace muster::data
