// COCOeval, bbox, step by step as pycocotools does it: the same order of detections, the same tie
// rules, the same sums.
#include "trainer/evaluate/coco_eval.h"

#include <algorithm>
#include <limits>
#include <span>

#include "trainer/evaluate/coco_cells.h"

namespace muster::trainer {
namespace {

constexpr std::size_t kThresholds = kCocoThresholds, kRecalls = 101, kRanges = 4, kCaps = 3;
constexpr std::array<std::size_t, kCaps> kMaxDetections{1, 10, kMostDetections};
// All, small, medium and large areas; both ends belong to the range.
constexpr std::array<AreaRange, kRanges> kAreaRanges{
    {kAnyArea, {0, 32.0 * 32}, {32.0 * 32, 96.0 * 96}, {96.0 * 96, 1e10}}};

const std::array<double, kRecalls> kRecallPoints = linspace<kRecalls>(0, 1);

// Precision at the 101 recall points, and the recall reached; all -1 where no truth counts.
struct Curve {
  std::array<std::array<double, kRecalls>, kThresholds> precision;
  std::array<double, kThresholds> recall;
};

struct Ranked {
  double score;
  std::size_t cell, detection;
};

void trace(std::span<const CellOutcome::Kind> kinds, std::int64_t num_truths,
           std::array<double, kRecalls>& precision, double& reached) {
  std::vector<double> recalls, precisions;
  double hits = 0, misses = 0;
  for (const CellOutcome::Kind kind : kinds) {
    hits += kind == CellOutcome::kTrue;
    misses += kind == CellOutcome::kFalse;
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

Curve accumulate(const std::vector<Cell>& cells, const std::vector<CellOutcome>& outcomes,
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
    std::vector<CellOutcome::Kind> kinds;
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
    std::vector<CellOutcome> outcomes;
    for (const Cell& cell : cells) outcomes.push_back(match(cell, kAreaRanges[range]));
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

std::int64_t count_truths(const std::vector<Cell>& cells) {
  std::int64_t count = 0;
  for (const Cell& cell : cells) count += std::ranges::count(cell.truths, false, &EvalBox::crowd);
  return count;
}

}  // namespace

CocoMetrics evaluate_coco(const CocoGroundTruth& truth, const std::vector<EvalBox>& detections) {
  std::map<std::int64_t, std::vector<Cell>> by_category = make_cells(truth, detections);
  CocoMetrics result;
  std::vector<Curves> categories;
  for (const auto& [id, name] : truth.categories) {
    categories.push_back(category_curves(by_category[id]));
    const std::span<const Curves> one(&categories.back(), 1);
    result.classes.push_back({name, count_truths(by_category[id]), summarize(one)});
    result.ap_per_category[name] = result.classes.back().metrics.at("AP");
  }
  result.metrics = summarize(categories);
  return result;
}

}  // namespace muster::trainer
