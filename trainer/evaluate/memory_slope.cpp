#include "trainer/evaluate/memory_slope.h"

#include <algorithm>
#include <cmath>

namespace muster::trainer {

MemorySlope fit_memory(const std::vector<std::int64_t>& samples, std::size_t warm_up,
                       Tolerance tolerance) {
  const std::size_t n = samples.size() > warm_up ? samples.size() - warm_up : 0;
  if (n < 2) return {0, 0, true};
  double mean_x = 0, mean_y = 0;
  for (std::size_t i = 0; i < n; ++i) {
    mean_x += static_cast<double>(i);
    mean_y += static_cast<double>(samples[warm_up + i]);
  }
  mean_x /= static_cast<double>(n);
  mean_y /= static_cast<double>(n);
  double covariance = 0, variance = 0;
  for (std::size_t i = 0; i < n; ++i) {
    const double dx = static_cast<double>(i) - mean_x;
    covariance += dx * (static_cast<double>(samples[warm_up + i]) - mean_y);
    variance += dx * dx;
  }
  const double slope = covariance / variance;
  const double grown = slope * static_cast<double>(n - 1);
  return {slope, grown, grown < std::max(tolerance.bytes, tolerance.of_mean * mean_y)};
}

}  // namespace muster::trainer
