#include "trainer/evaluate/operating_points.h"

#include <algorithm>
#include <functional>

#include "trainer/evaluate/coco_cells.h"

namespace muster::trainer {
namespace {

struct Judged {
  double score = 0;
  bool right = false;
};

// Those of one class that count, and how many there are to find.
struct Tally {
  std::vector<Judged> detections;
  std::int64_t truths = 0;
  void add(const Cell& cell) {
    const CellOutcome outcome = match(cell, kAnyArea);
    truths += outcome.num_truths;
    for (std::size_t d = 0; d < cell.detections.size(); ++d) {
      const CellOutcome::Kind kind = outcome.kinds[0][d];
      if (kind != CellOutcome::kIgnored)
        detections.push_back({cell.detections[d].score, kind == CellOutcome::kTrue});
    }
  }
};

Cell without_truths(const Cell& cell) {
  return {cell.detections, {}, std::vector<std::vector<double>>(cell.detections.size())};
}

double share(std::int64_t part, std::int64_t whole) {
  return whole == 0 ? 0 : static_cast<double>(part) / static_cast<double>(whole);
}

OperatingCurve curve_of(const std::string& name, Tally tally) {
  OperatingCurve curve{.name = name, .truths = tally.truths, .points = {}};
  std::ranges::sort(tally.detections, std::greater{}, &Judged::score);
  std::int64_t right = 0;
  for (std::size_t i = 0; i < tally.detections.size(); ++i) {
    right += tally.detections[i].right ? 1 : 0;
    const double score = tally.detections[i].score;
    // Equal scores pass a threshold together.
    if (i + 1 < tally.detections.size() && tally.detections[i + 1].score == score) continue;
    curve.points.push_back({.threshold = score,
                            .precision = share(right, static_cast<std::int64_t>(i) + 1),
                            .recall = share(right, tally.truths)});
  }
  return curve;
}

}  // namespace

OperatingCurves operating_curves(const CocoGroundTruth& truth,
                                 const std::vector<EvalBox>& detections) {
  auto cells = make_cells(truth, detections);
  OperatingCurves curves;
  Tally all;
  for (const auto& [id, name] : truth.categories) {
    Tally tally;
    for (const Cell& cell : cells[id]) tally.add(cell);
    all.truths += tally.truths;
    all.detections.insert(all.detections.end(), tally.detections.begin(), tally.detections.end());
    curves.classes.push_back(curve_of(name, std::move(tally)));
    cells.erase(id);
  }
  // What is called by no class's name is wrong whatever it shows.
  for (const auto& [id, of_no_class] : cells)
    for (const Cell& cell : of_no_class) all.add(without_truths(cell));
  curves.all = curve_of("", std::move(all));
  return curves;
}

}  // namespace muster::trainer
