// Detection on a set of samples: predictions, then COCO metrics. Batches are the same for every
// number of ranks and threads; every rank ends with the same numbers, which are those of one thread
// of one rank alone, bit by bit.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "data/encoder.h"
#include "data/sample_set.h"
#include "model/detector.h"
#include "sharding/collectives/collective.h"
#include "trainer/evaluate/coco_eval.h"
#include "trainer/evaluate/eval_batches.h"
#include "trainer/evaluate/found_boxes.h"
#include "trainer/evaluate/passes.h"

namespace muster::trainer {

struct EvalResult : BoxResult {
  // Of the true boxes that some detection overlaps by half (IoU), the share whose nearest detection
  // has exactly the truth's caption; -1 without any.
  double caption_exact = -1;
  double seconds = 0;        // of this rank
  double model_seconds = 0;  // that each place in the model was taken, on average
};

// [C] with more than one rank. `batches`: of this set, the same on every rank.
EvalResult evaluate(model::Detector& detector, const data::Tokenizer& tokenizer,
                    const data::SampleSet& set, const data::SampleEncoder& encoder,
                    const EvalBatches& batches, const PassThreads& threads,
                    sharding::Collective& collective);

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
