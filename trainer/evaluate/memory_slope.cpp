#include "trainer/evaluate/memory_slope.h"

#include <algorithm>
#include <span>

namespace muster::trainer {
namespace {

struct Line {
  double slope = 0, mean = 0;
};

// Least squares over places 0, 1, 2 ... REQUIRES two samples.
Line fit_line(std::span<const std::int64_t> samples) {
  const auto n = static_cast<double>(samples.size());
  const double mean_x = (n - 1) / 2;
  double mean_y = 0;
  for (const std::int64_t sample : samples) mean_y += static_cast<double>(sample);
  mean_y /= n;
  double covariance = 0, variance = 0;
  for (std::size_t i = 0; i < samples.size(); ++i) {
    const double dx = static_cast<double>(i) - mean_x;
    covariance += dx * (static_cast<double>(samples[i]) - mean_y);
    variance += dx * dx;
  }
  return {covariance / variance, mean_y};
}

}  // namespace

MemorySlope fit_memory(const std::vector<std::int64_t>& samples, std::size_t warm_up,
                       Tolerance tolerance) {
  MemorySlope result{.flat = true};
  if (samples.size() < warm_up + 2) return result;
  const std::span measured = std::span(samples).subspan(warm_up);
  const Line line = fit_line(measured);
  result.bytes_per_step = line.slope;
  result.grown_bytes = line.slope * static_cast<double>(measured.size() - 1);
  result.flat = result.grown_bytes < std::max(tolerance.bytes, tolerance.of_mean * line.mean);
  if (const std::size_t half = measured.size() / 2; half >= 2) {
    result.early_bytes_per_step = fit_line(measured.first(half)).slope;
    result.late_bytes_per_step = fit_line(measured.last(half)).slope;
  }
  return result;
}

}  // namespace muster::trainer
