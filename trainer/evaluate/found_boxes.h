// Boxes that were found in the pictures of a set, whoever found them, and what COCO says of them.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "data/sample_set.h"
#include "sharding/collectives/collective.h"
#include "trainer/evaluate/coco_eval.h"
#include "trainer/evaluate/eval_images.h"
#include "trainer/evaluate/operating_points.h"

namespace muster::trainer {

// It travels between ranks as it lies in memory.
struct FoundBox {
  std::int64_t image = 0;      // of EvalImages
  std::int64_t category = 0;   // original id; -1 when the caption is no class name
  std::array<float, 4> box{};  // x1, y1, x2, y2, stored pixels
  float score = 0, padding = 0;
};

// [C] Every rank's, by image: in the same order for every world size, when one rank finds all of an
// image's boxes. COCO breaks ties of score by that order.
std::vector<FoundBox> gather_found(const std::vector<FoundBox>& mine,
                                   sharding::Collective& collective);
// [C] The ranks' sums, taken as whole numbers or in the order of `mine`'s places, which no two
// ranks fill: the same bits for every world size.
void sum_over_ranks(std::vector<std::int64_t>& counts, sharding::Collective& collective);
void join_over_ranks(std::vector<double>& mine, sharding::Collective& collective);  // [C]

struct PackResult {
  std::string name;  // the file's stem; NAME-2 where another pack of the set has it
  CocoMetrics coco;
};

// AP50 when all classes are one.
double class_agnostic_ap50(CocoGroundTruth truth, std::vector<EvalBox> boxes);

// How good the boxes of a set are.
struct BoxResult {
  CocoMetrics coco;  // of all packs; category of a detection: the class whose name its caption is
  double class_agnostic_ap50 = 0;
  std::int64_t detections = 0;
  std::int64_t unknown_captions = 0;   // detections whose caption is no class name
  std::vector<EvalBox> boxes = {};     // the detections, by image; image_id is the source's
  std::vector<PackResult> packs = {};  // each by itself; empty for a set of one
  OperatingCurves curves = {};
  Confusion confusion = {};               // at the threshold that is best over all classes
  std::vector<std::int64_t> errors = {};  // per EvalImages::sample: false and missed boxes there
};

BoxResult measure_boxes(const std::vector<FoundBox>& found, const CocoGroundTruth& truth,
                        const data::SampleSet& set, const EvalImages& images);

}  // namespace muster::trainer
