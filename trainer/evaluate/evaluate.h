// Detection on a set of samples: predictions, then COCO metrics. The samples are dealt out over the
// ranks in batches that are the same for every number of ranks; every rank ends with the same
// numbers, which are those of one rank alone, bit by bit.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "data/encoder.h"
#include "data/sample_set.h"
#include "model/detector.h"
#include "sharding/collectives/collective.h"
#include "trainer/evaluate/coco_eval.h"
#include "trainer/evaluate/eval_images.h"
#include "trainer/evaluate/found_boxes.h"

namespace muster::trainer {

struct EvalOptions {
  std::int64_t max_samples = 0;  // each pack's first so many; 0: all
  std::int64_t samples_per_batch = 1;
};

struct EvalResult : BoxResult {
  // Of the true boxes that some detection overlaps by half (IoU), the share whose nearest detection
  // has exactly the truth's caption; -1 without any.
  double caption_exact = -1;
  double seconds = 0;  // of this rank, and its part in the model
  double model_seconds = 0;
};

// [C] with more than one rank.
EvalResult evaluate(model::Detector& detector, const data::Tokenizer& tokenizer,
                    const data::SampleSet& set, const data::SampleEncoder& encoder,
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

}  // namespace muster::trainer
