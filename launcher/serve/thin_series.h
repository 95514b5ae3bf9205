// A curve of any length in little memory: of each run of neighbours the smallest and the largest
// value stay, so that no spike is lost.
#pragma once

#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

namespace muster::launcher {

class ThinSeries {
 public:
  static constexpr std::size_t kMostPoints = 600;

  // x grows from call to call.
  void add(double x, double y);
  // How often all points were thinned: those that were read before are no longer the same.
  std::uint64_t generation() const { return generation_; }
  // Up to this x the points are final until the next thinning.
  double final_until() const;
  // The points after `x`; of a run of neighbours that is not full only the newest is one yet.
  std::vector<std::pair<double, double>> after(double x) const;

 private:
  void flush();
  void halve();

  std::vector<std::pair<double, double>> points_;
  std::size_t run_ = 1;  // values per pair of points
  std::size_t in_run_ = 0;
  std::pair<double, double> low_, high_, newest_;
  std::uint64_t generation_ = 0;
};

}  // namespace muster::launcher
