#include "launcher/serve/thin_series.h"

#include <algorithm>
#include <limits>

namespace muster::launcher {

void ThinSeries::add(double x, double y) {
  newest_ = {x, y};
  if (in_run_ == 0 || y < low_.second) low_ = newest_;
  if (in_run_ == 0 || y > high_.second) high_ = newest_;
  ++in_run_;
  if (in_run_ == run_) flush();
  if (points_.size() >= kMostPoints) halve();
}

void ThinSeries::flush() {
  points_.push_back(std::min(low_, high_));
  if (low_ != high_) points_.push_back(std::max(low_, high_));
  in_run_ = 0;
}

// Four neighbours, two runs' pairs, become the pair of one run of twice the length.
void ThinSeries::halve() {
  std::vector<std::pair<double, double>> kept;
  const auto value = [](const std::pair<double, double>& a, const std::pair<double, double>& b) {
    return a.second < b.second;
  };
  for (std::size_t i = 0; i < points_.size(); i += 4) {
    const auto begin = points_.begin() + static_cast<std::ptrdiff_t>(i);
    const auto end = points_.begin() + static_cast<std::ptrdiff_t>(std::min(i + 4, points_.size()));
    const auto [low, high] = std::minmax_element(begin, end, value);
    kept.push_back(*std::min(low, high));
    if (low != high) kept.push_back(*std::max(low, high));
  }
  points_ = std::move(kept);
  run_ = run_ == 1 ? 4 : run_ * 2;  // single values had one point each, a run has two
  ++generation_;
}

double ThinSeries::final_until() const {
  if (in_run_ == 0) return std::numeric_limits<double>::infinity();
  return points_.empty() ? -1 : points_.back().first;
}

std::vector<std::pair<double, double>> ThinSeries::after(double x) const {
  const auto begin = std::ranges::upper_bound(points_, x, {}, &std::pair<double, double>::first);
  std::vector<std::pair<double, double>> found(begin, points_.end());
  if (in_run_ > 0 && newest_.first > x) found.push_back(newest_);
  return found;
}

}  // namespace muster::launcher
