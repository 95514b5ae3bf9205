// Detection on a pack: predictions, then COCO metrics. The images are dealt out over the ranks;
// every rank ends with the same numbers.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "data/encoder.h"
#include "data/pack/pack.h"
#include "model/detector.h"
#include "sharding/collectives/collective.h"
#include "trainer/evaluate/coco_eval.h"

namespace muster::trainer {

struct EvalOptions {
  std::int64_t max_samples = 0;  // the pack's first so many; 0: all
  std::int64_t samples_per_batch = 1;
};

struct EvalResult {
  CocoMetrics coco;  // category of a detection: the class whose name its caption is
  double class_agnostic_ap50 = 0;
  std::int64_t detections = 0;
  std::int64_t unknown_captions = 0;  // detections whose caption is no class name
  std::vector<EvalBox> boxes = {};    // the detections, by image
};

// [C] with more than one rank.
EvalResult evaluate(model::Detector& detector, const data::Tokenizer& tokenizer,
                    const data::Pack& pack, const data::SampleEncoder& encoder,
                    const EvalOptions& options, sharding::Collective& collective);

// One image's detections with captions as text and categories looked up; category_id -1 when the
// caption is no class.
struct LabelledDetection {
  std::array<float, 4> box{};  // x1, y1, x2, y2, stored pixels
  float score = 0;
  std::string caption;
  std::int64_t category_id = -1;  // original id
};
std::vector<LabelledDetection> label(const std::vector<model::Detection>& detections,
                                     const data::Tokenizer& tokenizer,
                                     const data::ClassMap& classes);

CocoGroundTruth ground_truth(const data::Pack& pack, std::int64_t num_samples);

}  // namespace muster::trainer
