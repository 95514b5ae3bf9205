// Detection on a set of samples: predictions, then COCO metrics. The samples are dealt out over the
// ranks; every rank ends with the same numbers. Each picture of each annotated sample is an image
// of its own for the matching, with its sample's question and its sample's objects: two samples
// that ask different things about one picture do not see each other's boxes. Samples that nobody
// annotated, and those without a picture, are left out.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "data/encoder.h"
#include "data/sample_set.h"
#include "model/detector.h"
#include "sharding/collectives/collective.h"
#include "trainer/evaluate/coco_eval.h"

namespace muster::trainer {

struct EvalOptions {
  std::int64_t max_samples = 0;  // each pack's first so many; 0: all
  std::int64_t samples_per_batch = 1;
};

struct PackResult {
  std::string name;  // the file's stem; NAME-2 where another pack of the set has it
  CocoMetrics coco;
};

struct EvalResult {
  CocoMetrics coco;  // of all packs; category of a detection: the class whose name its caption is
  double class_agnostic_ap50 = 0;
  std::int64_t detections = 0;
  std::int64_t unknown_captions = 0;   // detections whose caption is no class name
  std::vector<EvalBox> boxes = {};     // the detections, by image; image_id is the source's
  std::vector<PackResult> packs = {};  // each by itself; empty for a set of one
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

// The pictures of a set that are evaluated, numbered in the order of the samples.
struct EvalImages {
  std::vector<std::int64_t> sample;  // those with annotated pictures
  std::vector<std::int64_t> first;   // [samples + 1]: sample[k] has images first[k] .. first[k + 1]
  std::vector<std::int64_t> source_id;  // per image: the source's, which several may have
  std::vector<std::int64_t> image_id;   // per image: its COCO id; ids sort as the source's do
};
// `max_samples`: of each pack, the first so many; 0: all.
EvalImages eval_images(const data::SampleSet& set, std::int64_t max_samples);
CocoGroundTruth ground_truth(const data::SampleSet& set, const EvalImages& images);

}  // namespace muster::trainer
