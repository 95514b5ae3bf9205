// COCOeval, bbox, step by step as pycocotools does it: the same order of detections, the same tie
// rules, the same sums.
#include "trainer/evaluate/coco_eval.h"

#include <algorithm>
#include <limits>
#include <numeric>
#include <set>
#include <span>

#include "base/error.h"

namespace muster::trainer {
namespace {

constexpr std::size_t kThresholds = 10, kRecalls = 101, kRanges = 4, kCaps = 3;
constexpr std::array<std::size_t, kCaps> kMaxDetections{1, 10, 100};
// All, small, medium and large areas; both ends belong to the range.
constexpr std::array<std::array<double, 2>, kRanges> kAreaRanges{
    {{0, 1e10}, {0, 32.0 * 32}, {32.0 * 32, 96.0 * 96}, {96.0 * 96, 1e10}}};

// numpy's linspace: start + i * step, the last value set to stop.
template <std::size_t N>
std::array<double, N> linspace(double start, double stop) {
  std::array<double, N> values{};
  const double step = (stop - start) / (N - 1);
  for (std::size_t i = 0; i < N; ++i) values[i] = static_cast<double>(i) * step + start;
  values[N - 1] = stop;
  return values;
}
const std::array<double, kThresholds> kIouThresholds = linspace<kThresholds>(0.5, 0.95);
const std::array<double, kRecalls> kRecallPoints = linspace<kRecalls>(0, 1);

// Intersection over union; a crowd region is divided by the detection's area alone.
double overlap(const EvalBox& detection, const EvalBox& truth) {
  const auto& [dx, dy, dw, dh] = detection.xywh;
  const auto& [gx, gy, gw, gh] = truth.xywh;
  const double w = std::min(dx + dw, gx + gw) - std::max(dx, gx);
  const double h = std::min(dy + dh, gy + gh) - std::max(dy, gy);
  if (w <= 0 || h <= 0) return 0;
  const double common = w * h;
  return common / (truth.crowd ? dw * dh : dw * dh + gw * gh - common);
}

// One image and category: detections best first (at most 100), ground truth as read, and their
// overlaps.
struct Cell {
  std::vector<EvalBox> detections, truths;
  std::vector<std::vector<double>> overlaps;  // [detection][truth]
};

struct Outcome {
  enum Kind : char { kTrue, kFalse, kIgnored };
  std::array<std::vector<Kind>, kThresholds> kinds;  // per detection
  std::int64_t num_truths = 0;                       // those that are not ignored
};

void keep_best(std::vector<EvalBox>& detections) {
  std::ranges::stable_sort(detections, std::greater{}, &EvalBox::score);
  if (detections.size() > kMaxDetections.back()) detections.resize(kMaxDetections.back());
}

bool outside(double area, const std::array<double, 2>& range) {
  return area < range[0] || area > range[1];
}

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
  CellMatch(const Cell& cell, const std::array<double, 2>& range) : cell_(cell), range_(range) {
    for (const EvalBox& truth : cell.truths)
      ignored_.push_back(truth.crowd || outside(truth.area, range));
    order_.resize(cell.truths.size());
    std::iota(order_.begin(), order_.end(), 0);
    std::ranges::stable_sort(order_, {}, [this](int truth) { return ignored_[truth]; });
  }

  Outcome outcome() const {
    Outcome outcome;
    outcome.num_truths = std::ranges::count(ignored_, 0);
    for (std::size_t t = 0; t < kThresholds; ++t) outcome.kinds[t] = kinds_at(kIouThresholds[t]);
    return outcome;
  }

 private:
  std::vector<Outcome::Kind> kinds_at(double threshold) const {
    std::vector<Outcome::Kind> kinds;
    std::vector<char> taken(cell_.truths.size(), 0);
    for (std::size_t d = 0; d < cell_.detections.size(); ++d) {
      const int match = best_truth(cell_, cell_.overlaps[d], order_, ignored_, taken, threshold);
      kinds.push_back(kind_of(cell_.detections[d], match));
      if (match >= 0) taken[match] = 1;
    }
    return kinds;
  }

  Outcome::Kind kind_of(const EvalBox& detection, int match) const {
    if (match >= 0) return ignored_[match] != 0 ? Outcome::kIgnored : Outcome::kTrue;
    const auto& [x, y, w, h] = detection.xywh;
    return outside(w * h, range_) ? Outcome::kIgnored : Outcome::kFalse;
  }

  const Cell& cell_;
  const std::array<double, 2>& range_;
  std::vector<char> ignored_;  // per truth
  std::vector<int> order_;     // truths that count, then ignored ones, each as read
};

// Precision at the 101 recall points, and the recall reached; all -1 where no truth counts.
struct Curve {
  std::array<std::array<double, kRecalls>, kThresholds> precision;
  std::array<double, kThresholds> recall;
};

struct Ranked {
  double score;
  std::size_t cell, detection;
};

void trace(std::span<const Outcome::Kind> kinds, std::int64_t num_truths,
           std::array<double, kRecalls>& precision, double& reached) {
  std::vector<double> recalls, precisions;
  double hits = 0, misses = 0;
  for (const Outcome::Kind kind : kinds) {
    hits += kind == Outcome::kTrue;
    misses += kind == Outcome::kFalse;
    recalls.push_back(hits / static_cast<double>(num_truths));
    precisions.push_back(hits / (misses + hits + std::numeric_limits<double>::epsilon()));
  }
  for (std::size_t i = precisions.size(); i > 1; --i)
    precisions[i - 2] = std::max(precisions[i - 2], precisions[i - 1]);
  reached = recalls.empty() ? 0 : recalls.back();
  for (std::size_t r = 0; r < kRecalls; ++r) {
    const auto at = static_cast<std::size_t>(
        std::lower_bound(recalls.begin(), recalls.end(), kRecallPoints[r]) - recalls.begin());
    precision[r] = at < precisions.size() ? precisions[at] : 0;
  }
}

Curve accumulate(const std::vector<Cell>& cells, const std::vector<Outcome>& outcomes,
                 std::size_t max_detections) {
  Curve curve;
  for (auto& precision : curve.precision) precision.fill(-1);
  curve.recall.fill(-1);
  std::int64_t num_truths = 0;
  std::vector<Ranked> ranked;
  for (std::size_t c = 0; c < cells.size(); ++c) {
    num_truths += outcomes[c].num_truths;
    for (std::size_t d = 0; d < std::min(max_detections, cells[c].detections.size()); ++d) {
      ranked.push_back({cells[c].detections[d].score, c, d});
    }
  }
  if (num_truths == 0) return curve;
  std::ranges::stable_sort(ranked, std::greater{}, &Ranked::score);
  for (std::size_t t = 0; t < kThresholds; ++t) {
    std::vector<Outcome::Kind> kinds;
    for (const Ranked& entry : ranked)
      kinds.push_back(outcomes[entry.cell].kinds[t][entry.detection]);
    trace(kinds, num_truths, curve.precision[t], curve.recall[t]);
  }
  return curve;
}

// The mean over everything above -1, as COCOeval.summarize.
class Mean {
 public:
  void add(double value) {
    if (value <= -1) return;
    sum_ += value;
    ++count_;
  }
  void add(std::span<const double> values) {
    for (const double value : values) add(value);
  }
  double value() const { return count_ == 0 ? -1 : sum_ / static_cast<double>(count_); }

 private:
  double sum_ = 0;
  std::int64_t count_ = 0;
};

using Curves = std::array<std::array<Curve, kCaps>, kRanges>;  // of one category

Curves category_curves(const std::vector<Cell>& cells) {
  Curves curves;
  for (std::size_t range = 0; range < kRanges; ++range) {
    std::vector<Outcome> outcomes;
    for (const Cell& cell : cells)
      outcomes.push_back(CellMatch(cell, kAreaRanges[range]).outcome());
    for (std::size_t cap = 0; cap < kCaps; ++cap)
      curves[range][cap] = accumulate(cells, outcomes, kMaxDetections[cap]);
  }
  return curves;
}

double mean_precision(std::span<const Curves> categories, std::size_t range, int threshold = -1) {
  Mean mean;
  for (const Curves& curves : categories) {
    const Curve& curve = curves[range][kCaps - 1];
    for (std::size_t t = 0; t < kThresholds; ++t) {
      if (threshold < 0 || static_cast<std::size_t>(threshold) == t) mean.add(curve.precision[t]);
    }
  }
  return mean.value();
}

double mean_recall(std::span<const Curves> categories, std::size_t range, std::size_t cap) {
  Mean mean;
  for (const Curves& curves : categories) mean.add(curves[range][cap].recall);
  return mean.value();
}

std::map<std::string, double> summarize(std::span<const Curves> all) {
  return {{"AP", mean_precision(all, 0)},      {"AP50", mean_precision(all, 0, 0)},
          {"AP75", mean_precision(all, 0, 5)}, {"APs", mean_precision(all, 1)},
          {"APm", mean_precision(all, 2)},     {"APl", mean_precision(all, 3)},
          {"AR1", mean_recall(all, 0, 0)},     {"AR10", mean_recall(all, 0, 1)},
          {"AR100", mean_recall(all, 0, 2)},   {"ARs", mean_recall(all, 1, 2)},
          {"ARm", mean_recall(all, 2, 2)},     {"ARl", mean_recall(all, 3, 2)}};
}

// Category and image: the cells of a category come in image order.
using Place = std::pair<std::int64_t, std::int64_t>;

std::map<Place, Cell> make_cells(const CocoGroundTruth& truth,
                                 const std::vector<EvalBox>& detections) {
  const std::set<std::int64_t> images(truth.image_ids.begin(), truth.image_ids.end());
  std::map<Place, Cell> cells;
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
  return cells;
}

}  // namespace

CocoMetrics evaluate_coco(const CocoGroundTruth& truth, const std::vector<EvalBox>& detections) {
  std::map<std::int64_t, std::vector<Cell>> by_category;
  for (auto& [place, cell] : make_cells(truth, detections))
    by_category[place.first].push_back(std::move(cell));
  CocoMetrics result;
  std::vector<Curves> categories;
  for (const auto& [id, name] : truth.categories) {
    categories.push_back(category_curves(by_category[id]));
    result.ap_per_category[name] = mean_precision({&categories.back(), 1}, 0);
  }
  result.metrics = summarize(categories);
  return result;
}

}  // namespace muster::trainer
