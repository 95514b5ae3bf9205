// COCO metrics in words, for people.
#pragma once

#include <cstdint>
#include <map>
#include <string>

#include "trainer/evaluate/coco_eval.h"
#include "trainer/show/evaluation_record.h"

namespace muster::trainer {

// One line per metric, then with `by_class` one per category; "n/a" where there is nothing to
// measure.
std::string metrics_text(const CocoMetrics& coco, bool by_class = true);

// One line per class: COCO's numbers, and the threshold at which its F1 is best.
std::string class_table(const EvaluationRecord& record);

// A zero needs an explanation (diary row L-107): the true and the predicted boxes of the classes
// with most, on one line. `predicted`: boxes by category id.
std::string explain_zero(const CocoGroundTruth& truth,
                         const std::map<std::int64_t, std::int64_t>& predicted);

}  // namespace muster::trainer
