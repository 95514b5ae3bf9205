#include "golden_check/compare.h"

#include <cmath>

namespace muster::golden {

void compare_close(Report& report, const std::string& name, const at::Tensor& got,
                   const at::Tensor& want, double tolerance) {
  double error = INFINITY;
  if (got.defined() && got.sizes() == want.sizes()) {
    const at::Tensor a = got.detach().to(at::kDouble), b = want.to(at::kDouble);
    const double scale = b.numel() > 0 ? b.abs().max().item<double>() : 0;
    error = b.numel() > 0 ? (a - b).abs().max().item<double>() / (scale > 0 ? scale : 1) : 0;
  }
  report.line(name, error, tolerance, error <= tolerance);
}

void compare_exact(Report& report, const std::string& name, const at::Tensor& got,
                   const at::Tensor& want) {
  double error = INFINITY;
  if (got.defined() && got.sizes() == want.sizes()) error = (got != want).sum().item<double>();
  report.line(name, error, 0, error == 0);
}

}  // namespace muster::golden
