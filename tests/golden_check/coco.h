// Oracles of the COCO evaluation: NAME.gt.json, NAME.dets.json and NAME.expected.json
// (golden/coco_eval).
#pragma once

#include <filesystem>

#include "golden_check/report.h"

namespace muster::golden {

// Whether `dir` holds any NAME.gt.json.
bool is_coco_dir(const std::filesystem::path& dir);

// One line per metric and one for the category whose AP is furthest off, of every case; tolerance
// 1e-6. True when there was at least one case and all passed. A case that throws is a failure, said
// on stderr.
bool check_coco(const std::filesystem::path& dir, Report& report);

}  // namespace muster::golden
