// Which score to ask for: precision, recall and F1 of every possible threshold, and the best one.
#pragma once

#include <vector>

#include "trainer/evaluate/coco_eval.h"
#include "trainer/show/evaluation_record.h"

namespace muster::trainer {

// Detections are right or wrong as COCO says at an IoU of 0.5: best first, each takes the truth of
// its class that it overlaps most; one that takes a crowd counts neither way. So a threshold leaves
// the others as they are.
struct OperatingCurves {
  OperatingCurve all;                   // the detections of all classes counted together
  std::vector<OperatingCurve> classes;  // by category id
};
OperatingCurves operating_curves(const CocoGroundTruth& truth,
                                 const std::vector<EvalBox>& detections);

}  // namespace muster::trainer
