// Which class is taken for which, with what is missed and what is made up.
#pragma once

#include <cstdint>
#include <map>
#include <vector>

#include "trainer/evaluate/coco_eval.h"
#include "trainer/show/evaluation_record.h"

namespace muster::trainer {

// Before the background stands "no class" where detections have a caption that is no class's name.
//
// Detections of a score of at least `threshold` take part. Pairs of a detection and a true box of
// any class, of an IoU of at least 0.5, are taken by falling IoU, each detection and each box once.
// (Ultralytics' ConfusionMatrix asks for more than 0.45, and 0.25 of the score, and gives a
// detection no other box once another one has taken its best.) A
// detection that is left and lies in a crowd counts neither way. Of more classes than
// kMostConfusionNames there is no matrix: it is empty.
Confusion confusion_matrix(const CocoGroundTruth& truth, const std::vector<EvalBox>& detections,
                           double threshold);

// What does not stand on the matrix's diagonal, by image; images without any are absent or 0.
std::map<std::int64_t, std::int64_t> errors_by_image(const CocoGroundTruth& truth,
                                                     const std::vector<EvalBox>& detections,
                                                     double threshold);

}  // namespace muster::trainer
