// The curves of a run: what is measured on data.val beside what is trained, and where time goes.
#pragma once

#include <string>

#include "trainer/show/report/run_folder.h"

namespace muster::trainer {

// The answer to "how good is it": AP over the steps. "" without an evaluation.
std::string ap_curve(const RunFolder& run);
std::string curves_section(const RunFolder& run);
// All seconds of the run's steps, by phase.
std::string time_section(const RunFolder& run);

}  // namespace muster::trainer
