// How many of what size: a small drawing of bars.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <vector>

namespace muster::trainer {

struct Bar {
  std::string from;  // what its left edge stands for
  std::int64_t count = 0;
};

struct Histogram {
  std::string title;
  std::vector<Bar> bars;
};

// Counts values between edges that double: below 2 x least, below 4 x least, and so on.
class DoublingBins {
 public:
  explicit DoublingBins(double least) : least_(least) {}
  void add(double value);
  // Without the empty bins at both ends.
  Histogram histogram(const std::string& title) const;

 private:
  double least_;
  std::array<std::int64_t, 10> counts_{};
};

// A <figure> with inline SVG; "" without any count.
std::string render_histogram(const Histogram& histogram);

}  // namespace muster::trainer
