// What a rank's device can do at most, beside which a run's speed becomes its MFU.
#pragma once

#include <string>

#include "configs/config.h"

namespace muster::trainer {

// 1e12 operations per second of one rank in model.dtype: logging.peak_tflops, else the data sheet's
// of a known GPU, else on a CPU what a short product of matrices reaches now. 0: not known.
double peak_tflops(const configs::Config& config);

// Of a GPU by the name that its driver gives; 0: not known.
double gpu_peak_tflops(const std::string& name, configs::Dtype dtype);

// The known GPUs as Markdown, for docs/flops.md.
std::string gpu_peaks_table();

}  // namespace muster::trainer
