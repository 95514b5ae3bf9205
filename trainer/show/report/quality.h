// How good a run's boxes are, class by class: tables, precision over recall, F1 over the threshold,
// what is taken for what.
#pragma once

#include <string>

#include "trainer/show/report/run_folder.h"

namespace muster::trainer {

std::string quality_section(const RunFolder& run);  // "" without evaluation.json
// Every metric of the evaluations: last, best, and when.
std::string metrics_section(const RunFolder& run);

}  // namespace muster::trainer
