// Comparisons that print one line each. A difference in shape is an infinite error; NaN fails.
#pragma once

#include <ATen/core/Tensor.h>

#include <string>

#include "golden_check/report.h"

namespace muster::golden {

// Largest difference, relative to the largest magnitude of `want`.
void compare_close(Report& report, const std::string& name, const at::Tensor& got,
                   const at::Tensor& want, double tolerance);

// The error is the number of elements that differ.
void compare_exact(Report& report, const std::string& name, const at::Tensor& got,
                   const at::Tensor& want);

}  // namespace muster::golden
