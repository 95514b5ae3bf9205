// The boxes that COCO's evaluation compares: what is there, and what was found.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <string>
#include <vector>

namespace muster::trainer {

struct EvalBox {
  std::int64_t image_id = 0, category_id = 0;
  std::array<double, 4> xywh{};
  double score = 0;    // detections
  double area = 0;     // ground truth
  bool crowd = false;  // ground truth
};

struct CocoGroundTruth {
  std::vector<std::int64_t> image_ids;
  std::map<std::int64_t, std::string> categories;
  std::vector<EvalBox> boxes;
  // From a file: images whose ids are texts, and images by file_name, with and without its folder.
  std::map<std::string, std::int64_t> image_by_text = {};
  std::map<std::string, std::int64_t> image_by_file = {};
};

}  // namespace muster::trainer
