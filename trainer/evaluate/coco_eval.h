// COCO bounding-box evaluation with pycocotools' exact arithmetic (COCOeval, iouType bbox).
#pragma once

#include <array>
#include <cstdint>
#include <filesystem>
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

// AP, AP50, AP75, APs, APm, APl, AR1, AR10, AR100, ARs, ARm, ARl; -1 where there is nothing to
// measure.
using CocoNumbers = std::map<std::string, double>;

struct ClassMetrics {
  std::string name;
  std::int64_t truths = 0;  // crowds are not counted
  CocoNumbers metrics;
};

struct CocoMetrics {
  CocoNumbers metrics;
  std::map<std::string, double> ap_per_category;  // by category name
  std::vector<ClassMetrics> classes = {};         // by category id
};

struct CocoGroundTruth {
  std::vector<std::int64_t> image_ids;
  std::map<std::int64_t, std::string> categories;
  std::vector<EvalBox> boxes;
  // From a file: images whose ids are texts, and images by file_name, with and without its folder.
  std::map<std::string, std::int64_t> image_by_text = {};
  std::map<std::string, std::int64_t> image_by_file = {};
};

CocoMetrics evaluate_coco(const CocoGroundTruth& truth, const std::vector<EvalBox>& detections);

// From a COCO json file. Ids of images may be texts. Warns of annotation ids that pycocotools
// evaluates otherwise: repeated ones, and 0. Throws DataError.
CocoGroundTruth read_ground_truth(const std::filesystem::path& file);
// COCO's results ([{"image_id", "category_id", "bbox", "score"}]), or the detections.json of
// `muster predict`, whose images and categories are found by name. Throws DataError.
std::vector<EvalBox> read_detections(const std::filesystem::path& file,
                                     const CocoGroundTruth& truth);
std::vector<EvalBox> read_detections(const std::filesystem::path& file);  // ids are numbers

// COCO's results. Whole or absent. Throws IoError.
void write_detections(const std::filesystem::path& file, const std::vector<EvalBox>& detections);

}  // namespace muster::trainer
