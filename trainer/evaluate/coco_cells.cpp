#include "trainer/evaluate/coco_cells.h"

#include <algorithm>
#include <numeric>
#include <set>
#include <span>
#include <string>
#include <utility>

#include "base/error.h"

namespace muster::trainer {
namespace {

const std::array<double, kCocoThresholds> kIouThresholds = linspace<kCocoThresholds>(0.5, 0.95);

void keep_best(std::vector<EvalBox>& detections) {
  std::ranges::stable_sort(detections, std::greater{}, &EvalBox::score);
  if (detections.size() > kMostDetections) detections.resize(kMostDetections);
}

bool outside(double area, const AreaRange& range) { return area < range[0] || area > range[1]; }

// The truth a detection takes, or -1: the best overlap of at least `threshold`; equal overlaps go
// to the later truth, a counted truth before any ignored one (which stand last in `order`), a taken
// one only when it is a crowd.
int best_truth(const Cell& cell, std::span<const double> overlaps, std::span<const int> order,
               const std::vector<char>& ignored, const std::vector<char>& taken, double threshold) {
  double best = std::min(threshold, 1 - 1e-10);
  int match = -1;
  for (const int truth : order) {
    if (taken[truth] && !cell.truths[truth].crowd) continue;
    if (match >= 0 && !ignored[match] && ignored[truth]) break;
    if (overlaps[truth] < best) continue;
    best = overlaps[truth];
    match = truth;
  }
  return match;
}

// What becomes of one cell's detections in one range of areas.
class CellMatch {
 public:
  CellMatch(const Cell& cell, const AreaRange& range) : cell_(cell), range_(range) {
    for (const EvalBox& truth : cell.truths)
      ignored_.push_back(truth.crowd || outside(truth.area, range));
    order_.resize(cell.truths.size());
    std::iota(order_.begin(), order_.end(), 0);
    std::ranges::stable_sort(order_, {}, [this](int truth) { return ignored_[truth]; });
  }

  CellOutcome outcome() const {
    CellOutcome outcome;
    outcome.num_truths = std::ranges::count(ignored_, 0);
    for (std::size_t t = 0; t < kCocoThresholds; ++t)
      outcome.kinds[t] = kinds_at(kIouThresholds[t]);
    return outcome;
  }

 private:
  std::vector<CellOutcome::Kind> kinds_at(double threshold) const {
    std::vector<CellOutcome::Kind> kinds;
    std::vector<char> taken(cell_.truths.size(), 0);
    for (std::size_t d = 0; d < cell_.detections.size(); ++d) {
      const int match = best_truth(cell_, cell_.overlaps[d], order_, ignored_, taken, threshold);
      kinds.push_back(kind_of(cell_.detections[d], match));
      if (match >= 0) taken[match] = 1;
    }
    return kinds;
  }

  CellOutcome::Kind kind_of(const EvalBox& detection, int match) const {
    if (match >= 0) return ignored_[match] != 0 ? CellOutcome::kIgnored : CellOutcome::kTrue;
    const auto& [x, y, w, h] = detection.xywh;
    return outside(w * h, range_) ? CellOutcome::kIgnored : CellOutcome::kFalse;
  }

  const Cell& cell_;
  const AreaRange& range_;
  std::vector<char> ignored_;  // per truth
  std::vector<int> order_;     // truths that count, then ignored ones, each as read
};

}  // namespace

double overlap(const EvalBox& detection, const EvalBox& truth) {
  const auto& [dx, dy, dw, dh] = detection.xywh;
  const auto& [gx, gy, gw, gh] = truth.xywh;
  const double w = std::min(dx + dw, gx + gw) - std::max(dx, gx);
  const double h = std::min(dy + dh, gy + gh) - std::max(dy, gy);
  if (w <= 0 || h <= 0) return 0;
  const double common = w * h;
  return common / (truth.crowd ? dw * dh : dw * dh + gw * gh - common);
}

CellOutcome match(const Cell& cell, const AreaRange& range) {
  return CellMatch(cell, range).outcome();
}

std::map<std::int64_t, std::vector<Cell>> make_cells(const CocoGroundTruth& truth,
                                                     const std::vector<EvalBox>& detections) {
  const std::set<std::int64_t> images(truth.image_ids.begin(), truth.image_ids.end());
  // Category and image: the cells of a category come in image order.
  std::map<std::pair<std::int64_t, std::int64_t>, Cell> cells;
  for (const EvalBox& box : truth.boxes) {
    if (images.contains(box.image_id)) cells[{box.category_id, box.image_id}].truths.push_back(box);
  }
  for (const EvalBox& box : detections) {
    if (!images.contains(box.image_id)) {
      throw DataError("a detection names image " + std::to_string(box.image_id) +
                      ", which the ground truth does not have");
    }
    cells[{box.category_id, box.image_id}].detections.push_back(box);
  }
  for (auto& [place, cell] : cells) {
    keep_best(cell.detections);
    for (const EvalBox& detection : cell.detections) {
      std::vector<double>& row = cell.overlaps.emplace_back();
      for (const EvalBox& box : cell.truths) row.push_back(overlap(detection, box));
    }
  }
  std::map<std::int64_t, std::vector<Cell>> by_category;
  for (auto& [place, cell] : cells) by_category[place.first].push_back(std::move(cell));
  return by_category;
}

}  // namespace muster::trainer
