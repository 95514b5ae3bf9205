#include "trainer/evaluate/judgement.h"

#include <algorithm>
#include <numeric>

namespace muster::trainer {
namespace {

using Box = std::array<double, 4>;

double area(const Box& box) {
  return std::max(0.0, box[2] - box[0]) * std::max(0.0, box[3] - box[1]);
}

double common_area(const Box& a, const Box& b) {
  return area(
      {std::max(a[0], b[0]), std::max(a[1], b[1]), std::min(a[2], b[2]), std::min(a[3], b[3])});
}

// Of a crowd COCO asks how much of the prediction lies in it.
double overlap(const PredictedBox& predicted, const TrueBox& truth) {
  const double both = common_area(predicted.box, truth.box);
  const double whole =
      truth.crowd ? area(predicted.box) : area(predicted.box) + area(truth.box) - both;
  return whole > 0 ? both / whole : 0;
}

class Judge {
 public:
  Judge(std::span<const TrueBox> truth, std::span<const PredictedBox> predictions)
      : truth_(truth), predictions_(predictions) {
    result_.predictions.resize(predictions.size());
    result_.found_with.resize(truth.size());
  }

  Judgement run() {
    std::vector<std::size_t> order(predictions_.size());
    std::iota(order.begin(), order.end(), std::size_t{0});
    std::ranges::stable_sort(order, std::greater{},
                             [&](std::size_t i) { return predictions_[i].score; });
    for (const std::size_t i : order) judge_one(i);
    return std::move(result_);
  }

 private:
  // The truth that `wanted` says and that is overlapped most; -1 when none is overlapped.
  template <typename Wanted>
  std::int64_t nearest(const PredictedBox& predicted, Wanted wanted) const {
    std::int64_t best = -1;
    double most = 0;
    for (std::size_t t = 0; t < truth_.size(); ++t) {
      const double here = overlap(predicted, truth_[t]);
      if (!wanted(t) || here <= most) continue;
      most = here;
      best = static_cast<std::int64_t>(t);
    }
    return best;
  }

  double overlap_with(const PredictedBox& predicted, std::int64_t t) const {
    return t < 0 ? 0 : overlap(predicted, truth_[static_cast<std::size_t>(t)]);
  }

  void judge_one(std::size_t i) {
    const PredictedBox& predicted = predictions_[i];
    const auto of_class = [&](std::size_t t, bool crowd) {
      return truth_[t].crowd == crowd && truth_[t].category == predicted.category &&
             predicted.category >= 0;
    };
    const std::int64_t free = nearest(
        predicted, [&](std::size_t t) { return of_class(t, false) && !result_.found_with[t]; });
    if (overlap_with(predicted, free) >= kLeastOverlap) {
      result_.found_with[static_cast<std::size_t>(free)] = predicted.score;
      result_.predictions[i] = {Outcome::kFound, overlap_with(predicted, free), free};
      return;
    }
    const std::int64_t crowd = nearest(predicted, [&](std::size_t t) { return of_class(t, true); });
    if (overlap_with(predicted, crowd) >= kLeastOverlap) {
      result_.predictions[i] = {Outcome::kInCrowd, overlap_with(predicted, crowd), crowd};
      return;
    }
    const std::int64_t any = nearest(predicted, [](std::size_t) { return true; });
    result_.predictions[i] = {Outcome::kFalse, overlap_with(predicted, any), any};
  }

  std::span<const TrueBox> truth_;
  std::span<const PredictedBox> predictions_;
  Judgement result_;
};

}  // namespace

Judgement judge(std::span<const TrueBox> truth, std::span<const PredictedBox> predictions) {
  return Judge(truth, predictions).run();
}

}  // namespace muster::trainer
