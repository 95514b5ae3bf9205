// Pictures of the validation set: the truth beside what was found, the worst first.
#pragma once

#include <string>

#include "trainer/show/report/run_folder.h"

namespace muster::trainer {

// From predictions/judged.json; a run without one has its predictions/*.{png,jpg,jpeg}, by name,
// with an optional caption in <stem>.txt. "" without either.
std::string pictures_section(const RunFolder& run);

}  // namespace muster::trainer
