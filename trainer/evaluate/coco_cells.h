// COCO's matching, of which every measure of detections is made: detections and ground truth by
// category and image, and what becomes of each detection.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <vector>

#include "trainer/evaluate/coco_eval.h"

namespace muster::trainer {

inline constexpr std::size_t kCocoThresholds = 10;   // IoU 0.50, 0.55, ... 0.95
inline constexpr std::size_t kMostDetections = 100;  // of one image and category

// numpy's linspace: start + i * step, the last value set to stop.
template <std::size_t N>
std::array<double, N> linspace(double start, double stop) {
  std::array<double, N> values{};
  const double step = (stop - start) / (N - 1);
  for (std::size_t i = 0; i < N; ++i) values[i] = static_cast<double>(i) * step + start;
  values[N - 1] = stop;
  return values;
}

using AreaRange = std::array<double, 2>;  // both ends belong to it
inline constexpr AreaRange kAnyArea{0, 1e10};

// Intersection over union; a crowd region is divided by the detection's area alone.
double overlap(const EvalBox& detection, const EvalBox& truth);

// One image and category: detections best first (at most kMostDetections), ground truth as read,
// and their overlaps.
struct Cell {
  std::vector<EvalBox> detections, truths;
  std::vector<std::vector<double>> overlaps;  // [detection][truth]
};

struct CellOutcome {
  enum Kind : char { kTrue, kFalse, kIgnored };
  std::array<std::vector<Kind>, kCocoThresholds> kinds;  // per detection
  std::int64_t num_truths = 0;                           // those that are not ignored
};

// What becomes of a cell's detections: best first, each takes the truth that it overlaps most.
// Truths outside the range of areas, and crowds, are ignored, and so is what takes them.
CellOutcome match(const Cell& cell, const AreaRange& range);

// By category, in the order of images. Throws DataError for a detection of an unknown image.
std::map<std::int64_t, std::vector<Cell>> make_cells(const CocoGroundTruth& truth,
                                                     const std::vector<EvalBox>& detections);

}  // namespace muster::trainer
